import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.small_bundle import write_small_bundle

from dualhmr import Recoverer, open_bundle
from dualhmr.bundle import Bundle
from dualhmr.engines import BACKENDS, EngineOptions, open_networks, opening
from dualhmr.engines.tensorrt.library import find_gpu

Opener = Callable[[Bundle, str, EngineOptions], Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_small_bundle(tmp_path_factory.mktemp("bundles") / "small"))


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dualhmr")


def works(name: str) -> Opener:
    network = SimpleNamespace(runs_on=f"a fake {name}", reads=("keypoints", "box_info"))
    return lambda *_: (network, network)


def fails(error: Exception) -> Opener:
    def opener(*_: object) -> None:
        raise error

    return opener


def fake_openers(monkeypatch: pytest.MonkeyPatch, **errors: Exception) -> None:
    for name in BACKENDS[1:]:
        opener = fails(errors[name]) if name in errors else works(name)
        monkeypatch.setitem(opening._OPENERS, name, opener)


GONE: dict[str, Exception] = {
    "tensorrt": RuntimeError("no TensorRT"),
    "onnxruntime": ImportError("no ONNX Runtime"),
    "torch": FileNotFoundError("no weights"),
}


@pytest.mark.parametrize(
    ("device", "gone", "taken"),
    [
        ("cpu", [], "onnxruntime"),
        ("cpu", ["onnxruntime"], "torch"),
        ("cuda", [], "tensorrt"),
        ("cuda:1", ["tensorrt"], "onnxruntime"),
        ("cuda", ["tensorrt", "onnxruntime"], "torch"),
    ],
)
def test_auto_takes_the_fastest_and_logs_why(
    bundle: Bundle,
    device: str,
    gone: list[str],
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_openers(monkeypatch, **{name: GONE[name] for name in gone})
    networks = open_networks(bundle, device=device)
    assert (networks.backend, networks.runs_on) == (taken, f"a fake {taken}")
    skipped = [f"backend {name} is skipped: {GONE[name]}" for name in gone]
    assert caplog.messages == [*skipped, f"backend {taken} is used: a fake {taken}"]


def test_no_backend_works(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_openers(monkeypatch, **GONE)
    message = "on device 'cuda': tensorrt: no TensorRT; onnxruntime: no ONNX Runtime; torch: no we"
    with pytest.raises(RuntimeError, match=message):
        open_networks(bundle, device="cuda")


def test_damage_is_no_reason_to_go_on(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_openers(monkeypatch, onnxruntime=ValueError("backbone.onnx is damaged"))
    with pytest.raises(ValueError, match=r"backbone\.onnx is damaged"):
        open_networks(bundle)


def test_a_backend_that_is_named_is_never_exchanged(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_openers(monkeypatch, **GONE)
    for name, error in GONE.items():
        with pytest.raises(type(error), match=str(error)):
            open_networks(bundle, name, device="cuda")


def test_auto_wants_the_provider_of_the_device(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, ONNX Runtime on the CPU would be no better than PyTorch."""
    received = []

    def opener(_bundle: Bundle, _device: str, options: EngineOptions) -> Any:
        received.append(options)
        raise RuntimeError("it runs on CPUExecutionProvider")

    fake_openers(monkeypatch, tensorrt=GONE["tensorrt"])
    monkeypatch.setitem(opening._OPENERS, "onnxruntime", opener)
    options = EngineOptions(threads=3)
    assert open_networks(bundle, device="cuda", options=options).backend == "torch"
    assert received == [EngineOptions(provider="cuda", threads=3)]


def test_a_provider_is_a_choice_of_onnxruntime(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_openers(monkeypatch)
    options = EngineOptions(provider="openvino")
    assert open_networks(bundle, device="cuda", options=options).backend == "onnxruntime"
    for name in ("torch", "tensorrt"):
        with pytest.raises(ValueError, match=f"'openvino' is one of ONNX Runtime, not of .*{name}"):
            open_networks(bundle, name, options=options)
    with pytest.raises(ValueError, match="not of backend 'torch'"):
        Recoverer(bundle, scope="all", options=options)


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("onnx", "cpu", "unknown backend 'onnx'; known are auto, onnxruntime, tensorrt, torch"),
        ("auto", "tpu", "unknown device 'tpu'; known are cpu, cuda"),
    ],
)
def test_misspelt(bundle: Bundle, backend: str, device: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_networks(bundle, backend, device=device)


def test_without_onnxruntime_there_is_torch(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    recoverer = Recoverer(bundle)
    assert recoverer.backend == "torch"
    assert recoverer.engine.startswith("torch")
    assert "backend onnxruntime is skipped: ONNX Runtime is not installed" in caplog.text


def test_without_torch_there_is_onnxruntime(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert open_networks(bundle).backend == "onnxruntime"
    assert find_gpu() is None or find_gpu().array_library == "cupy"
    with pytest.raises(
        ImportError, match=r"backend 'torch' needs PyTorch: pip install .*\[torch\]"
    ):
        open_networks(bundle, "torch")


def test_a_precision_that_the_cpu_lacks_goes_to_torch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_bundle(write_small_bundle(tmp_path / "small", precision="bf16"))
    assert open_networks(opened).backend == "torch"
    assert "skipped" in caplog.text
    assert "precision bf16" in caplog.text
    with pytest.raises(RuntimeError, match='use backend="torch" or "tensorrt"'):
        open_networks(opened, "onnxruntime")


def test_tensorrt_gets_the_files_and_the_options(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class FakeNetwork:
        reads, runs_on = ("keypoints", "box_info"), "TensorRT 0"

        def __init__(self, path: Path, *, device: str, options: EngineOptions) -> None:
            made.append((path.name, device, options))

    module = SimpleNamespace(TensorRTNetwork=FakeNetwork)
    monkeypatch.setitem(sys.modules, "dualhmr.engines.tensorrt.run", module)
    for asked, expected in ((2, 2), (None, 5)):
        made.clear()
        options = EngineOptions(max_batch=asked)
        opened = replace(bundle, manifest=replace(bundle.manifest, max_batch=5))
        networks = open_networks(opened, "tensorrt", device="cuda:0", options=options)
        assert (networks.backend, networks.runs_on) == ("tensorrt", "TensorRT 0")
        options = EngineOptions(max_batch=expected)
        assert made == [(name, "cuda:0", options) for name in ("backbone.onnx", "auxiliary.onnx")]


def test_networks_give_arrays_that_speak_dlpack(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "keypoints": rng.uniform(0, 1, (2, 23, 3)).astype(np.float32),
        "box_info": rng.normal(size=(2, 3)).astype(np.float32),
    }
    for name in ("onnxruntime", "torch"):
        output = open_networks(bundle, name).auxiliary(inputs)["rotations"]
        assert np.from_dlpack(output).shape == (2, 24, 3, 3)
