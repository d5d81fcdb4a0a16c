"""Engines that hand a state on: tiny graphs, in stand-ins for TensorRT and a GPU's memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx
from helpers.tensorrt_fakes import FakeRuntimeCache, HostMemory, OnnxEngine, fake_module
from onnx import TensorProto, helper

from dualhmr.engines.tensorrt.compiled_kernels import CompiledKernels
from dualhmr.engines.tensorrt.run import LoadedEngine
from dualhmr.engines.tensorrt.steps import StepEngines

X = np.array([[1.0, 2.0, 3.0]], np.float32)


def engine(*nodes: tuple[str, list[str], str], size: int = 3) -> OnnxEngine:
    """Of tensors (1, size): what no node makes is an input, all that nodes make are outputs."""
    made = [output for _, _, output in nodes]
    read = list(dict.fromkeys(name for _, names, _ in nodes for name in names if name not in made))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size)) for name in names]
        for names in (read, made)
    )
    graph = helper.make_graph(
        [helper.make_node(kind, names, [output]) for kind, names, output in nodes],
        "tiny",
        inputs,
        outputs,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return OnnxEngine(model.SerializeToString())


class Running:
    """s begins as 2x; a step adds x to s and counts in m, which only it knows; its row is s + m."""

    def __init__(
        self, *, kernels: Any = None, captures_by_itself: bool = False, cuda_graph: bool = False
    ) -> None:
        self.start = engine(("Add", ["x", "x"], "after.s"))
        self.step = engine(
            ("Add", ["before.s", "x"], "after.s"),
            ("Add", ["before.m", "x"], "after.m"),
            ("Add", ["before.s", "before.m"], "row"),
        )
        self.memory = HostMemory()
        self.engines = StepEngines(
            fake_module(captures_by_itself=captures_by_itself),
            [LoadedEngine(None, self.start, None), LoadedEngine(None, self.step, kernels)],
            self.memory,
            cuda_graph=cuda_graph,
        )

    def rows(self, x: np.ndarray, count: int) -> np.ndarray:
        self.engines.begin({"x": x, "unread": x}, count)
        self.engines.run(0)
        for number in range(count):
            self.engines.run(1, row=number, cleared=number == 0)
        return self.engines.rows(0, count)


@pytest.mark.parametrize("captures_by_itself", [False, True])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_the_state_is_handed_on(cuda_graph: bool, captures_by_itself: bool) -> None:
    running = Running(cuda_graph=cuda_graph, captures_by_itself=captures_by_itself)
    assert running.engines.reads == ("x",)
    # Odd and even numbers of runs begin on either side; a longer history moves the buffer.
    for count, scale in ((3, 1), (2, 5), (1, 2), (6, 1)):
        expected = np.concatenate([(2 + 2 * step) * scale * X for step in range(count)])
        np.testing.assert_array_equal(running.rows(scale * X, count), expected)
    assert len(running.step.contexts) == len(running.start.contexts) == 2
    by_hand = cuda_graph and not captures_by_itself
    assert running.memory.captured == 4 * by_hand
    if cuda_graph and captures_by_itself:
        strategy = tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        assert {each.config.cuda_graph_strategy for each in running.step.contexts} == {strategy}


def test_compiled_kernels_are_kept(tmp_path: Path) -> None:
    kernels = CompiledKernels(tmp_path, "step", b"an engine", gpu_name="RTX 3090")
    running = Running(kernels=kernels)
    running.rows(X, 2)
    caches = {id(each.config.cache) for each in running.step.contexts}
    assert len(caches) == 1
    cache = running.step.contexts[0].config.cache
    assert isinstance(cache, FakeRuntimeCache)
    cache.content = b"kernels"
    running.rows(X, 9)  # saved after 10 runs
    (path,) = tmp_path.glob("step.*.kernels")
    assert path.read_bytes() == b"kernels"


def test_what_does_not_fit_is_refused() -> None:
    running = Running()
    with pytest.raises(ValueError, match=r"input x has the shape \(1, 2\), expected \(1, 3\)"):
        running.engines.begin({"x": X[:, :2]}, 1)
    other = engine(("Add", ["before.s", "before.s"], "after.s"), ("Neg", ["x"], "row"), size=4)
    loaded = [LoadedEngine(None, each, None) for each in (running.start, other)]
    trt = fake_module(captures_by_itself=False)
    with pytest.raises(
        ValueError, match=r"engine 1 has before.s of shape \(1, 4\), another \(1, 3"
    ):
        StepEngines(trt, loaded, HostMemory(), cuda_graph=False)
    other.shapes["row"] = (-1, 4)
    with pytest.raises(ValueError, match=r"row is FLOAT \(-1, 4\), expected FLOAT of a fixed"):
        StepEngines(trt, loaded[1:], HostMemory(), cuda_graph=False)


def test_a_failure_is_an_error() -> None:
    running = Running()
    running.rows(X, 1)
    for context in running.step.contexts:
        context.execute_async_v3 = lambda _stream: False
    with pytest.raises(RuntimeError, match="could not run the engine"):
        running.rows(X, 2)
