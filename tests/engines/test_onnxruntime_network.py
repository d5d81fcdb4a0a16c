from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.small_graph import small_inputs, write_graph

from dualhmr import open_bundle
from dualhmr.engines import EngineOptions, OnnxRuntimeNetwork

Inputs = dict[str, np.ndarray]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "small.onnx")


@pytest.fixture
def network(graph: Path) -> OnnxRuntimeNetwork:
    return OnnxRuntimeNetwork(graph)


def session(network: OnnxRuntimeNetwork) -> Any:
    return network._session


@pytest.mark.parametrize("persons", [1, 5])
def test_bound_buffers_hold_what_the_session_gives(
    network: OnnxRuntimeNetwork, persons: int
) -> None:
    inputs = small_inputs(persons)
    outputs = network(inputs)
    names = list(outputs)
    assert names == ["sums", "doubled"]
    for name, expected in zip(names, session(network).run(names, inputs), strict=True):
        np.testing.assert_array_equal(np.from_dlpack(outputs[name]), expected)
    sums = inputs["image"].sum((1, 2)) + inputs["box_info"]
    np.testing.assert_allclose(np.from_dlpack(outputs["sums"]), sums, rtol=1e-6)


def test_the_default_bundle_too() -> None:
    path = open_bundle().path("auxiliary.onnx")
    network = OnnxRuntimeNetwork(path)
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.integers(0, 256, (3, 256, 192, 3), dtype=np.uint8),
        "keypoints": rng.uniform(0, 1, (3, 23, 3)).astype(np.float32),
        "box_info": rng.normal(size=(3, 3)).astype(np.float32),
    }
    outputs = network(inputs)
    expected = session(network).run(list(outputs), inputs)
    for output, reference in zip(outputs.values(), expected, strict=True):
        np.testing.assert_array_equal(np.from_dlpack(output), reference)


def test_later_calls_do_not_change_outputs(network: OnnxRuntimeNetwork) -> None:
    first = network(small_inputs(2))["sums"]
    kept = np.from_dlpack(first).copy()
    network(small_inputs(2) | {"box_info": np.full((2, 3), 9, np.float32)})
    np.testing.assert_array_equal(np.from_dlpack(first), kept)


def test_inputs_need_not_be_in_one_piece_and_others_are_ignored(
    network: OnnxRuntimeNetwork,
) -> None:
    inputs = small_inputs(3)
    mirrored = inputs["image"][:, :, ::-1]
    again = network(inputs | {"image": mirrored, "other": np.zeros(1)})
    np.testing.assert_allclose(
        np.from_dlpack(again["sums"]), np.from_dlpack(network(inputs)["sums"]), rtol=1e-6
    )


def test_no_persons(network: OnnxRuntimeNetwork) -> None:
    outputs = network(small_inputs(0))
    assert {name: np.from_dlpack(output).shape for name, output in outputs.items()} == {
        "sums": (0, 3),
        "doubled": (0, 3),
    }


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda i: i.pop("image"), ValueError, "missing inputs image; this network reads image, "),
        (lambda i: i.update(image=i["image"].astype(np.float32)), TypeError, "expected uint8"),
        (
            lambda i: i.update(box_info=i["box_info"].astype(np.float64)),
            TypeError,
            "input box_info is float64, expected float32",
        ),
        (
            lambda i: i.update(image=i["image"].transpose(0, 3, 1, 2)),
            ValueError,
            r"input image has the shape \(2, 3, 4, 3\), expected \(N, 4, 3, 3\)",
        ),
        (
            lambda i: i.update(box_info=i["box_info"][:1]),
            ValueError,
            "the same persons, but their numbers are {'image': 2, 'box_info': 1}",
        ),
    ],
)
def test_inputs_that_do_not_fit(
    network: OnnxRuntimeNetwork,
    change: Callable[[Inputs], object],
    error: type[Exception],
    message: str,
) -> None:
    inputs = small_inputs(2)
    change(inputs)
    with pytest.raises(error, match=message):
        network(inputs)


def test_options_reach_the_session(graph: Path) -> None:
    settings = session(
        OnnxRuntimeNetwork(graph, options=EngineOptions(threads=1))
    ).get_session_options()
    assert settings.intra_op_num_threads == 1
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert settings.graph_optimization_level == level


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(graph: Path, part: float) -> None:
    content = graph.read_bytes()
    graph.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"small\.onnx is damaged or not a graph .* export it"):
        OnnxRuntimeNetwork(graph)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no ONNX file at .*absent\.onnx"):
        OnnxRuntimeNetwork(tmp_path / "absent.onnx")


def test_graph_for_a_fixed_number_of_persons(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "fixed.onnx", persons=1)
    with pytest.raises(ValueError, match=r"fixed\.onnx: image has the shape \[1, 4, 3, 3\]; exp"):
        OnnxRuntimeNetwork(path)


def test_bfloat16_on_a_cpu_says_where_to_run_it(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "small.onnx", bfloat16=True)
    message = r'CPUExecutionProvider cannot run .* precision bf16: .*use backend="torch" or "tensor'
    with pytest.raises(RuntimeError, match=message):
        OnnxRuntimeNetwork(path, precision="bf16")


@pytest.mark.skipif(
    not torch.cuda.is_available()
    or "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs a GPU, and ONNX Runtime for it",
)
def test_outputs_stay_on_the_gpu(graph: Path, network: OnnxRuntimeNetwork) -> None:
    on_gpu = OnnxRuntimeNetwork(graph, device="cuda", options=EngineOptions(provider="cuda"))
    inputs = small_inputs(4)
    outputs, expected = on_gpu(inputs), network(inputs)
    for name, output in outputs.items():
        assert torch.from_dlpack(output).is_cuda
        torch.testing.assert_close(torch.from_dlpack(output).cpu(), expected[name])
