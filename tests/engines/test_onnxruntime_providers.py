import importlib
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers.small_graph import small_inputs, write_graph

from dualhmr.engines import PROVIDERS, EngineOptions, OnnxRuntimeNetwork, onnxruntime_session

CPU, CUDA = PROVIDERS["cpu"].name, PROVIDERS["cuda"].name
ON_CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
Session = onnxruntime.InferenceSession


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "small.onnx")


class FakeSessions:
    """Stands in for a build of ONNX Runtime: says what it has, computes on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.available = [CPU]
        self.starts = True
        """Whether a session runs on what was asked for; it falls back silently otherwise."""
        self.plugins: list[str] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        monkeypatch.setattr(onnxruntime, "InferenceSession", self.open)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: self.available)
        monkeypatch.setattr(
            onnxruntime,
            "get_ep_devices",
            lambda: [SimpleNamespace(ep_name=name) for name in self.plugins],
            raising=False,  # older versions have no plugins
        )

    def open(self, path: str, options: Any, *, providers: Any, enable_fallback: int) -> Any:
        assert enable_fallback == 0
        self.asked = providers
        session = Session(path, options, providers=[CPU])
        if self.starts:
            session.get_providers = lambda: [*dict(providers), CPU]
        return session


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSessions:
    return FakeSessions(monkeypatch)


def open_with(graph: Path, provider: str | None, device: str = "cpu") -> OnnxRuntimeNetwork:
    return OnnxRuntimeNetwork(graph, device=device, options=EngineOptions(provider=provider))


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "cpu"])
def test_a_named_provider_that_is_not_there(
    graph: Path, fake: FakeSessions, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(RuntimeError) as caught:
        open_with(graph, provider)
    assert fake.asked == [(CPU, {})]
    for part in (PROVIDERS[provider].name, f"runs on {CPU}", PROVIDERS[provider].install):
        assert part in str(caught.value)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_named_provider_that_is_there_but_cannot_be_loaded(
    graph: Path, fake: FakeSessions, provider: str
) -> None:
    """The libraries of CUDA are missing: ONNX Runtime lists the provider and runs on the CPU."""
    name = PROVIDERS[provider].name
    fake.available, fake.starts = [name, CPU], False
    message = rf"{name} was asked for; .*could not load it, and runs on {CPU}: .*\[cuda,cudnn\]"
    with pytest.raises(RuntimeError, match=message) as caught:
        open_with(graph, provider)
    assert "in place of onnxruntime" not in str(caught.value)


@pytest.mark.parametrize(("provider", "imports"), [("cuda", []), ("tensorrt", ["tensorrt"])])
def test_libraries_of_a_gpu_are_loaded_from_their_packages(
    graph: Path, fake: FakeSessions, provider: str, imports: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    loaded: list[str] = []

    def preload() -> None:
        print("Failed to load libcublas.so.12")
        loaded.append("dlls")

    def load(name: str) -> Any:
        loaded.append(name)
        return onnxruntime if name == "onnxruntime" else None

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    monkeypatch.setattr(importlib, "import_module", load)
    fake.available = [PROVIDERS[provider].name, CPU]
    open_with(graph, provider)
    assert [name for name in loaded if name != "onnxruntime"] == [*imports, "dlls"]
    loaded.clear()
    open_with(graph, "cpu")
    assert "dlls" not in loaded
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("fake")
def test_two_packages_of_one_module_are_named(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("onnxruntime", "onnxruntime-gpu")
    monkeypatch.setattr(onnxruntime_session, "_is_installed", lambda name: name in both)
    with pytest.raises(RuntimeError, match="pip uninstall onnxruntime onnxruntime-gpu, and"):
        open_with(graph, "cuda")
    assert onnxruntime_session.clashing_packages()
    monkeypatch.setattr(onnxruntime_session, "_is_installed", lambda name: name == both[0])
    assert not onnxruntime_session.clashing_packages()


@pytest.mark.parametrize("available", [[CPU], [CUDA, CPU]])
def test_where_the_device_chose_it_tells_what_is_used(
    graph: Path, fake: FakeSessions, available: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    fake.available, fake.starts = available, False
    network = open_with(graph, None, device="cuda")
    assert network.runs_on == f"onnxruntime {onnxruntime.__version__} {CPU} (asked for {CUDA})"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("dualhmr", logging.WARNING)
    assert f"small.onnx: {CUDA} was asked for" in record.getMessage()
    expected = OnnxRuntimeNetwork(graph)(small_inputs(2))
    for name, output in network(small_inputs(2)).items():
        np.testing.assert_array_equal(np.from_dlpack(output), np.from_dlpack(expected[name]))


@pytest.mark.parametrize(
    ("provider", "device", "expected"),
    [
        (None, "cpu", [(CPU, {})]),
        ("cuda", "cpu", [(CUDA, {"device_id": "0", **ON_CUDA})]),
        (None, "cuda:1", [(CUDA, {"device_id": "1", **ON_CUDA})]),
        (
            "tensorrt",
            "cuda",
            [
                ("TensorrtExecutionProvider", {"device_id": "0"}),
                (CUDA, {"device_id": "0", **ON_CUDA}),
            ],
        ),
        ("openvino", "cpu", [("OpenVINOExecutionProvider", {})]),
    ],
)
def test_settings_of_each_provider(
    graph: Path,
    fake: FakeSessions,
    provider: str | None,
    device: str,
    expected: list[tuple[str, dict[str, str]]],
) -> None:
    fake.available = [each.name for each in PROVIDERS.values()]
    network = open_with(graph, provider, device)
    assert fake.asked == expected
    assert network.runs_on == f"onnxruntime {onnxruntime.__version__} {expected[0][0]}"


def test_settings_that_options_add(graph: Path, fake: FakeSessions, tmp_path: Path) -> None:
    fake.available = [each.name for each in PROVIDERS.values()]
    options = EngineOptions(provider="openvino", threads=2)
    OnnxRuntimeNetwork(graph, options=options)
    assert fake.asked[0][1] == {"num_of_threads": "2"}
    options = EngineOptions(provider="tensorrt", cache_folder=tmp_path)
    OnnxRuntimeNetwork(graph, device="cuda", options=options)
    assert fake.asked[0][1]["trt_engine_cache_path"] == str(tmp_path)
    OnnxRuntimeNetwork(graph, device="cuda", options=EngineOptions(tf32=True))
    assert fake.asked[0][1]["use_tf32"] == "1"


def test_plugins_count_as_available(graph: Path, fake: FakeSessions) -> None:
    fake.plugins = [CUDA]
    assert CUDA in open_with(graph, "cuda").runs_on


def test_tensorrt_for_rtx_is_registered_first(
    graph: Path, fake: FakeSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = SimpleNamespace(get_library_path=lambda: "rtx.so")
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", plugin)

    def register(name: str, path: str) -> None:
        assert path == "rtx.so"
        fake.plugins.append(name)

    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", register, raising=False)
    for _ in range(2):
        network = open_with(graph, "nv_tensorrt_rtx", device="cuda")
        assert "NvTensorRTRTXExecutionProvider" in network.runs_on
    assert fake.plugins == ["NvTensorRTRTXExecutionProvider"]


def test_a_provider_that_cannot_be_started(
    graph: Path, fake: FakeSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.available = [CUDA, CPU]

    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(RuntimeError, match=f"{CUDA} was asked for and cannot be .* failure 100"):
        open_with(graph, "cuda")


def test_a_misspelt_provider() -> None:
    with pytest.raises(ValueError, match="unknown provider 'cudda'; known are cpu, cuda, tensorrt"):
        EngineOptions(provider="cudda")


def test_without_onnxruntime(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        OnnxRuntimeNetwork(graph)
