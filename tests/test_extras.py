"""The extras install together: pyproject.toml against what the packages' metadata say.

`python scripts/package_facts.py` asks the registry for the metadata and for what pip installs.
"""

import json
import re
from pathlib import Path

import pytest

from scripts import package_facts

ROOT = Path(__file__).parents[1]

FACTS = json.loads((ROOT / "tests" / "package_facts.json").read_text(encoding="utf-8"))
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
DEVICES = (ROOT / "docs" / "how_to" / "edge.md").read_text(encoding="utf-8")
# Packages of one module; not more than one of each may be installed.
SHARED = (
    {"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"},
    {"cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"},
    {"tensorrt", "tensorrt-cu12", "tensorrt-cu13"},
)


def requirements(extra: str) -> list[str]:
    """Of an extra and of the base."""
    return [
        each for name in (extra, "base") for each in package_facts.requirements(name, PYPROJECT)
    ]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=~ ;]", requirement)[0]


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0]))


def allows(requirement: str, found: str) -> bool:
    for relation, bound in re.findall(r"(>=|<)([\d.]+)", requirement):
        if (version(found) >= version(bound)) != (relation == ">="):
            return False
    return True


def test_the_comparison_of_versions() -> None:
    assert allows("torch>=2.4,<2.11", "2.10.0")
    assert not allows("torch>=2.4,<2.11", "2.11.0")
    assert not allows("torch>=2.4", "2.3.1+cpu")
    assert {"numba>=0.60", "torch>=2.4", "torch<2.11", "numpy>=1.26"} < {*requirements("cuda12")}


@pytest.mark.parametrize("extra", package_facts.RESOLVED)
def test_pip_finds_versions_that_fit_together(extra: str) -> None:
    resolved = FACTS["resolved"][extra]
    for requirement in requirements(extra):
        if not re.match(r"tensorrt-cu", requirement):
            found = resolved[name_of(requirement)]
            assert allows(requirement, found), f"{requirement}: run scripts/package_facts.py"
    for packages in SHARED:
        assert len(packages & {*resolved, *map(name_of, requirements(extra))}) <= 1
    if extra in ("base", "fast"):
        assert not [name for name in resolved if "nvidia" in name or "cuda" in name]


@pytest.mark.parametrize(("extra", "cuda"), [("cuda12", 12), ("cuda13", 13)])
def test_everything_is_for_one_cuda(extra: str, cuda: int) -> None:
    resolved = FACTS["resolved"][extra]
    other = 25 - cuda
    assert not [n for n in [*resolved, *map(name_of, requirements(extra))] if f"cu{other}" in n]
    assert version(resolved["cuda-toolkit"])[0] == cuda
    (runtime,) = [n for n in resolved if re.fullmatch(r"nvidia-cuda-nvrtc(-cu12)?", n)]  # CuPy's
    assert version(resolved[runtime])[0] == cuda
    torch = next(
        needs for name, needs in FACTS["requires"].items() if name == f"torch=={resolved['torch']}"
    )
    assert any(f"cu{cuda}" in need for need in torch)


def onnxruntime_gpu(cuda: int) -> tuple[str, list[str]]:
    """The newest one for that CUDA, and what it requires."""
    runtime = re.compile(rf"nvidia-cuda-runtime(-cu\d+)?~={cuda}\.")
    of_cuda = {
        name: needs
        for name, needs in FACTS["requires"].items()
        if name.startswith("onnxruntime-gpu") and any(map(runtime.match, needs))
    }
    newest = max(of_cuda, key=version)
    return newest, of_cuda[newest]


@pytest.mark.parametrize("cuda", [12, 13])
def test_onnx_runtime_for_a_gpu_as_the_docs_install_it(cuda: int) -> None:
    newest, needs = onnxruntime_gpu(cuda)
    assert {extra for need in needs for extra in re.findall(r'extra == "(\w+)"', need)} == {
        "cuda", "cudnn",
    }  # fmt: skip
    (row,) = re.findall(rf"^\| CUDA {cuda}, .*ONNX Runtime.*$", INSTALL, re.MULTILINE)
    (documented,) = re.findall(r'"(onnxruntime-gpu\[cuda,cudnn\][^"]*)"', row)
    assert allows(documented, newest.partition("==")[2])
    # 1.27 asks for packages of CUDA 13 under names that they never had.
    broken = FACTS["requires"]["onnxruntime-gpu==1.27.0"]
    assert any("nvidia-cuda-nvrtc-cu13" in need for need in broken)
    assert not allows(documented, "1.27.0")
    assert not allows(documented, onnxruntime_gpu(25 - cuda)[0].partition("==")[2])
    linked = FACTS["linked"][newest]
    assert f"libcudart.so.{cuda}" in linked["cuda"]
    (tensorrt,) = [name for name in linked["tensorrt"] if name.startswith("libnvinfer.so.")]
    (requirement,) = [r for r in requirements(f"cuda{cuda}") if r.startswith("tensorrt-cu")]
    major = version(tensorrt)[0]
    assert allows(requirement, f"{major}.16")
    assert not allows(requirement, f"{major + 1}.0")


def test_the_table_of_wheels_is_the_registrys() -> None:
    devices = FACTS["wheels"]
    assert f"| package | {' | '.join(devices)} |" in DEVICES
    for name in FACTS["wheels"]["Windows"]:
        cells = " | ".join(devices[device][name] or "none" for device in devices)
        assert f"| {name} | {cells} |" in DEVICES
