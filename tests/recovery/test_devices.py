"""What `device` may be."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dualhmr import Recoverer, open_bundle
from dualhmr.bundle import ADAPTATION_START
from dualhmr.person_fitting import choose_adaptation, person_fitter
from dualhmr.recoverer.arguments import device_name


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu"), torch.device("cpu", 0)])
def test_the_cpu(device: object) -> None:
    recoverer = pickle.loads(pickle.dumps(Recoverer(device=device)))  # type: ignore[arg-type]
    assert "CPU" in recoverer.engine


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (None, "cpu"),
        ("cuda", "cuda"),
        ("cuda:1", "cuda:1"),
        (torch.device("cuda"), "cuda"),
        (torch.device("cuda", 1), "cuda:1"),
    ],
)
def test_names(device: object, name: str) -> None:
    assert device_name(device) == name


@pytest.mark.parametrize(("gpus", "name"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, gpus: bool, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert device_name("auto") == name


@pytest.mark.parametrize(
    ("device", "steps", "tensorrt", "chosen"),
    [
        ("cuda", True, True, "tensorrt"),
        ("cuda", True, False, "onnx"),
        ("cuda", False, True, "onnx"),
        ("cpu", True, True, "onnx"),
    ],
)
def test_auto_without_pytorch(
    monkeypatch: pytest.MonkeyPatch, device: str, steps: bool, tensorrt: bool, chosen: str
) -> None:
    """TensorRT where it runs and the bundle has graphs of steps, else numba."""

    def library_and_gpu(_: str) -> None:
        if not tensorrt:
            raise RuntimeError("no GPU")

    monkeypatch.setattr(person_fitter, "numba_installed", lambda: False)
    monkeypatch.setattr(person_fitter, "torch_installed", lambda: False)
    monkeypatch.setattr("dualhmr.engines.tensorrt.library.library_and_gpu", library_and_gpu)
    bundle = open_bundle()
    files = {**bundle.manifest.files, **({ADAPTATION_START: "0"} if steps else {})}
    bundle = replace(bundle, manifest=replace(bundle.manifest, files=files))
    assert choose_adaptation("auto", bundle, device=device, scope="head") == chosen
    monkeypatch.setattr(person_fitter, "numba_installed", lambda: True)
    with_numba = "tensorrt" if chosen == "tensorrt" else "numba"  # on the CPU
    assert choose_adaptation("auto", bundle, device=device, scope="head") == with_numba
    assert choose_adaptation("numba", bundle, device=device, scope="head") == "numba"


@pytest.mark.parametrize(
    "device",
    ["", "gpu", "CPU", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "mps", "cuda:1\n", "x" * 999],
)
def test_names_of_none(device: str) -> None:
    with pytest.raises(
        ValueError, match=r"unknown device .*; expected 'cpu', 'cuda', 'cu"
    ) as caught:
        Recoverer(device=device)
    assert len(str(caught.value)) < 300


def test_devices_that_other_libraries_have() -> None:
    with pytest.raises(ValueError, match="unknown device 'mps'"):
        Recoverer(device=torch.device("mps"))


@pytest.mark.parametrize("device", [0, 1, True, 0.0, b"cpu", ["cpu"], SimpleNamespace(type="cpu")])
def test_what_is_no_device(device: object) -> None:
    with pytest.raises(TypeError, match=r"device is .* of type .*, expected 'cpu', 'cuda'"):
        Recoverer(device=device)  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RuntimeError, match="'cuda:2' was asked for, but this PyTorch sees 2 GPUs"):
        Recoverer(device="cuda:2", adaptation="torch")
