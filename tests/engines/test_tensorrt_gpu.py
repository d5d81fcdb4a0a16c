"""TensorRT on a GPU, held to ONNX Runtime on the CPU."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.tensorrt_graphs import BFLOAT16, FLOAT, HALF, crops, graph

from dualhmr.engines.frozen_network import EngineOptions
from dualhmr.engines.tensorrt.cache import engine_folders
from dualhmr.engines.tensorrt.library import library_and_gpu
from dualhmr.engines.tensorrt.run import TensorRTNetwork

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
ERRORS = {FLOAT: 1e-4, HALF: 1e-2, BFLOAT16: 5e-2}


@pytest.fixture(autouse=True)
def _supported() -> None:
    try:
        library_and_gpu()
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))


def opened(folder: Path, kind: int = FLOAT, *, cuda_graph: bool = False) -> TensorRTNetwork:
    path = folder / "tiny.onnx"
    path.write_bytes(graph(kind))
    options = EngineOptions(max_batch=4, cuda_graph=cuda_graph, cache_folder=folder / "cache")
    return TensorRTNetwork(path, device="cuda", options=options)


def expected(image: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph(), providers=["CPUExecutionProvider"])
    return dict(zip("yz", session.run(["y", "z"], {"image": image}), strict=True))


def assert_right(network: TensorRTNetwork, persons: int, kind: int = FLOAT, seed: int = 0) -> None:
    image = crops(persons, seed=seed)
    for name, value in network({"image": image}).items():
        assert value.is_cuda
        right = expected(image)[name]
        error = np.abs(torch.from_dlpack(value).cpu().numpy() - right).max(initial=0)
        assert error <= ERRORS[kind] * np.abs(right).max(initial=1)


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("kind", [FLOAT, HALF, BFLOAT16])
def test_results_are_those_of_onnx_runtime(tmp_path: Path, kind: int, cuda_graph: bool) -> None:
    network = opened(tmp_path, kind, cuda_graph=cuda_graph)
    assert network.reads == ("image",)
    assert "tensorrt" in network.runs_on
    for seed, persons in enumerate((1, 2, 4, 2, 9, 0, 1)):
        assert_right(network, persons, kind, seed)


def test_results_stay_when_the_network_is_called_again(tmp_path: Path) -> None:
    network = opened(tmp_path, cuda_graph=True)
    first = network({"image": crops(2)})["y"]
    kept = first.clone()
    network({"image": crops(2, seed=1)})
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


def test_results_are_ready_on_the_stream_of_the_caller(tmp_path: Path) -> None:
    network = opened(tmp_path)
    image = crops(4)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        sums = [network({"image": image})["z"].sum() for _ in range(50)]
    stream.synchronize()
    assert len({float(value) for value in sums}) == 1


def test_the_engine_says_what_it_was_made_of(tmp_path: Path) -> None:
    network = opened(tmp_path)
    facts = json.loads(network._runner._engine.name)
    assert facts["file"] == "tiny.onnx"
    assert facts["profile"] == "1-1-1,2-4-4"
    (path,) = engine_folders(tmp_path / "tiny.onnx", tmp_path / "cache")[1].glob("*.engine")
    assert facts["capability"] in path.name


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing inputs image"):
        opened(tmp_path)({})
