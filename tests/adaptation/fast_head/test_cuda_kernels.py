"""All kernels: compiled for GPUs, and launched through CuPy, or something that stands in for it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dualhmr.adaptation.fast_head.cuda_kernels import KernelVariant
from dualhmr.adaptation.fast_head.cupy_kernels import cuda_kernels

HEAD = ("dualhmr.adaptation.fast_head", "head.cu")
OBJECTIVE = ("dualhmr.objective.gradient", "objective.cu")
SIZES = (("BETAS", 10), ("KEYPOINTS", 17), ("POINTS", 64))
SHARED = (*SIZES, ("PAIRS", 79), ("IN_SHARED", 1))
IN_MEMORY = (*SIZES, ("PAIRS", 600), ("IN_SHARED", 0))
# CUDA compiles once to its own assembly and from there for each GPU: 80 is A100, 87 Jetson Orin, 89
# RTX 40 and L4, 90 H100.
ALL = ["arch=compute_80,code=[sm_80,sm_87,sm_89]", "arch=compute_90,code=sm_90"]
H100 = ALL[1:]
REGISTERS = {"update_matrix": 255, "update_output": 64, "iterate": 64, "clipped_rate": 64}
REGISTERS |= {"objective": 128}
"""More would not fit as many threads as a block has."""


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA compiler (nvcc)")
@pytest.mark.parametrize(
    ("variant", "targets"),
    [
        (KernelVariant(HEAD, "all", torch.float32, (("WIDTH", 4),)), ALL),
        (KernelVariant(HEAD, "all", torch.float32, (("WIDTH", 1), ("ADAM", 0))), ALL),
        (KernelVariant(HEAD, "all", torch.float64, (("WIDTH", 2),)), H100),
        (KernelVariant(OBJECTIVE, "objective", torch.float32, SHARED), ALL),
        (KernelVariant(OBJECTIVE, "objective", torch.float32, IN_MEMORY), ALL),
        (KernelVariant(OBJECTIVE, "objective", torch.float64, IN_MEMORY), H100),
    ],
)
def test_compiles_for_gpus(variant: KernelVariant, targets: list[str], tmp_path: Path) -> None:
    """Without warnings, and within the registers and the shared memory that a block may have."""
    source = tmp_path / "kernel.cu"
    source.write_text(variant.source)
    architectures = [part for target in targets for part in ("-gencode", target)]
    command = ["nvcc", "-std=c++17", *architectures, *variant.options, str(source), "-fatbin"]
    flags = ["-Xptxas", "-v", "-Werror", "all-warnings", "-o", str(tmp_path / "fatbin")]
    result = subprocess.run([*command, *flags], check=False, capture_output=True, text=True)
    printed = result.stdout + result.stderr
    assert result.returncode == 0, printed
    for line in printed.splitlines():
        if "Compiling entry function" in line:
            name = line.split("'")[1]
        if "registers" in line:
            assert int(line.split("Used ")[1].split()[0]) <= REGISTERS[name], line
    assert not _large_spills(printed)


def _large_spills(printed: str) -> list[str]:
    """Lines with more than what a call of a division needs."""
    lines = [line for line in printed.splitlines() if "spill stores" in line]
    return [line for line in lines if int(line.split("bytes stack frame, ")[1].split()[0]) > 64]


@pytest.fixture
def cupy_unseen() -> Iterator[None]:
    """As in a new process, which has not looked for CuPy yet."""
    cuda_kernels.cache_clear()
    yield
    cuda_kernels.cache_clear()


@pytest.mark.usefixtures("cupy_unseen")
def test_without_cupy_pytorch_is_used_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert [cuda_kernels() for _ in range(2)] == [None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert 'pip install "dualhmr[cuda13]" or "dualhmr[cuda12]"' in caplog.text


@pytest.mark.usefixtures("cupy_unseen")
def test_with_cupy_kernels_are_launched_on_pytorchs_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[Any] = []

    class RawKernel:
        def __init__(self, source: str, name: str, options: tuple[str, ...]) -> None:
            assert "iterate(" in source
            assert options == ("-std=c++17", "-DREAL=float", "-DESTIMATE=5")
            self.name = name

        def __call__(self, *arguments: Any) -> None:
            launched.append((self.name, *arguments))

    def entered(name: str, value: Any) -> AbstractContextManager[None]:
        launched.append((name, value))
        return nullcontext()

    stream = SimpleNamespace(
        from_external=lambda stream: entered("stream", stream.__cuda_stream__())
    )
    cuda = SimpleNamespace(Device=lambda index: entered("device", index), Stream=stream)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(RawKernel=RawKernel, cuda=cuda))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=1234))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    kernels, numbers = cuda_kernels(), torch.zeros(5)
    assert kernels is not None
    variant = KernelVariant(HEAD, "iterate", torch.float32, (("ESTIMATE", 5),))
    for _ in range(2):
        kernels.launch(variant, (2, 1, 1), 64, (numbers, None, 7))
        launch = ("iterate", (2, 1, 1), (64, 1, 1), (numbers.data_ptr(), 0, 7))
        assert launched == [("device", 1), ("stream", (0, 1234)), launch]
        launched.clear()
