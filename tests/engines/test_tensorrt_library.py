import subprocess
import sys
from types import ModuleType

import pytest
import tensorrt_rtx
import torch

from dualhmr.engines.tensorrt import library as availability
from dualhmr.engines.tensorrt.library import (
    Gpu,
    Library,
    find_gpu,
    library_and_gpu,
    load_library,
)


def give(monkeypatch: pytest.MonkeyPatch, name: str, version: str | None) -> None:
    """Makes a library importable under `name`, or not importable."""
    module = None
    if version is not None:
        module = ModuleType(name)
        module.__version__ = version
    monkeypatch.setitem(sys.modules, name, module)


def test_importing_the_package_loads_no_library_and_touches_no_gpu() -> None:
    program = """
import sys
import dualhmr.person_fitting.tensorrt_fitter
libraries = "tensorrt", "tensorrt_rtx", "cupy", "torch", "onnxruntime"
print([name for name in libraries if name in sys.modules])
"""
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == ["[]"]


def test_the_real_one_is_loaded_with_its_version_and_cuda() -> None:
    library = load_library("tensorrt_rtx")
    assert library.module is tensorrt_rtx
    assert library.version == tensorrt_rtx.__version__
    assert library.cuda_version == "13"
    assert {"sm86", "sm89", "sm120"} <= set(library.targets)
    assert "current" not in library.targets


def test_tensorrt_proper_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "tensorrt", "11.4.0")
    library = load_library()
    assert (library.name, library.version) == ("tensorrt", "11.4.0")
    assert library.targets == ()
    give(monkeypatch, "tensorrt", None)
    assert load_library().name == "tensorrt_rtx"


def test_without_any_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "tensorrt", None)
    give(monkeypatch, "tensorrt_rtx", None)
    with pytest.raises(ImportError, match="pip install tensorrt-rtx-cu13"):
        load_library()
    with pytest.raises(ImportError, match=r"dualhmr\[cuda13\]"):
        load_library("tensorrt")


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown library 'tensorrt_lean'; known are tensorrt,"):
        load_library("tensorrt_lean")


def test_a_cuda_that_no_package_tells_is_that_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "tensorrt", "0.0")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert load_library("tensorrt").cuda_version == "12.8"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert load_library("tensorrt").cuda_version == "unknown"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_here_there_is_no_gpu() -> None:
    assert find_gpu() is None
    with pytest.raises(RuntimeError, match="needs an NVIDIA GPU"):
        library_and_gpu()


@pytest.mark.parametrize("device", ["cpu", "cuda:", "cuda:x", "gpu"])
def test_a_device_that_is_no_gpu_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"not on '{device}'"):
        library_and_gpu(device)


def test_a_gpu_that_the_library_does_not_support(monkeypatch: pytest.MonkeyPatch) -> None:
    rtx = load_library("tensorrt_rtx")
    proper = Library(ModuleType("tensorrt"), "tensorrt", "11.4.0", "13")

    def found(library: Library, capability: str) -> tuple[Library, Gpu]:
        gpu = Gpu(0, "NVIDIA H100", capability, "torch")
        monkeypatch.setattr(availability, "find_gpu", lambda _device: gpu)
        monkeypatch.setattr(availability, "load_library", lambda: library)
        return library_and_gpu()

    assert found(rtx, "sm86")[1].capability == "sm86"
    assert found(proper, "sm90")[0] == proper
    with pytest.raises(RuntimeError, match=r"run on NVIDIA H100 \(sm90\), only on sm75"):
        found(rtx, "sm90")


def test_a_missing_library_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "tensorrt", None)
    give(monkeypatch, "tensorrt_rtx", None)
    with pytest.raises(ImportError, match="pip install"):
        library_and_gpu()
