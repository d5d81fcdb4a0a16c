"""What can be said of running engines without a GPU: tensorrt_fakes.py takes its place."""

import numpy as np
import pytest
import tensorrt_rtx
from helpers.tensorrt_fakes import DoublingEngine, HostMemory, fake_module
from hypothesis import given
from hypothesis import strategies as st

from dualhmr.engines.tensorrt.run import EngineRunner

WHOLE_GRAPH = tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE


class Running:
    def __init__(
        self, *, cuda_graph: bool = False, captures_by_itself: bool = False, max_batch: int = 8
    ) -> None:
        self.engine = DoublingEngine()
        self.memory = HostMemory()
        self.runner = EngineRunner(
            fake_module(captures_by_itself=captures_by_itself),
            self.engine,
            self.memory,
            max_batch=max_batch,
            cuda_graph=cuda_graph,
        )

    def doubles(self, persons: int, start: float = 1) -> np.ndarray:
        x = np.arange(start, start + 3 * persons, dtype=np.float32).reshape(persons, 3)
        y = self.runner({"x": x, "unread": x})["y"]
        np.testing.assert_array_equal(y, 2 * x)
        return y


@pytest.mark.parametrize("captures_by_itself", [False, True])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_results_are_right_and_the_callers_own(cuda_graph: bool, captures_by_itself: bool) -> None:
    running = Running(cuda_graph=cuda_graph, captures_by_itself=captures_by_itself)
    first = running.doubles(2)
    kept = first.copy()
    for persons in (2, 3, 1, 2, 0, 4):
        running.doubles(persons, start=10)
    np.testing.assert_array_equal(first, kept)


def test_without_a_graph_one_context_serves() -> None:
    running = Running()
    running.doubles(2)
    running.doubles(3)
    (context,) = running.engine.contexts
    assert context.config is None
    assert context.executed == 2


def test_a_graph_is_captured_once_for_each_number_of_persons() -> None:
    running = Running(cuda_graph=True)
    for persons in (2, 3, 2, 2):
        running.doubles(persons)
    assert running.memory.captured == 2
    # Each was executed once to warm up, the rest are replays.
    assert [context.executed for context in running.engine.contexts] == [1 + 3, 1 + 1]
    assert all(context.config is None for context in running.engine.contexts)


def test_rtx_captures_by_itself() -> None:
    running = Running(cuda_graph=True, captures_by_itself=True)
    running.doubles(2)
    running.doubles(2)
    (context,) = running.engine.contexts
    assert context.config.cuda_graph_strategy == WHOLE_GRAPH
    assert running.memory.captured == 0
    assert context.executed == 2


def test_read_only_and_strided_inputs_are_taken() -> None:
    x = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]
    x.flags.writeable = False
    np.testing.assert_array_equal(Running().runner({"x": x})["y"], 2 * x)


def test_wrong_types_and_shapes_are_refused() -> None:
    runner = Running().runner
    with pytest.raises(TypeError, match="input x is float64, expected float32"):
        runner({"x": np.zeros((2, 3))})
    for shape in ((2, 4), (3,), (2, 3, 1), ()):
        with pytest.raises(ValueError, match="input x has the shape"):
            runner({"x": np.zeros(shape, np.float32)})
    with pytest.raises(ValueError, match=r"TensorRT refuses 'x' of the shape \(5, 3\)"):
        runner({"x": np.zeros((5, 3), np.float32)})


def test_a_failure_is_an_error() -> None:
    running = Running()
    running.engine.contexts[0].fails = True
    with pytest.raises(RuntimeError, match="could not run the engine: it gave no reason"):
        running.doubles(1)


def test_unknown_types_are_refused() -> None:
    module = fake_module(captures_by_itself=False)
    with pytest.raises(ValueError, match="x is of type FP4; expected one of FLOAT"):
        EngineRunner(
            module, DoublingEngine(kind="FP4"), HostMemory(), max_batch=8, cuda_graph=False
        )


@pytest.mark.parametrize("cuda_graph", [False, True])
@given(persons=st.integers(0, 20), largest=st.integers(1, 4))
def test_large_batches_are_split(cuda_graph: bool, persons: int, largest: int) -> None:
    running = Running(cuda_graph=cuda_graph, max_batch=largest)
    running.doubles(persons)
    contexts = running.engine.contexts
    warm_ups = len(contexts) if cuda_graph else 0
    executed = sum(context.executed for context in contexts)
    assert executed == -(-persons // largest) + warm_ups


def test_without_an_input_nothing_runs() -> None:
    with pytest.raises(ValueError, match="missing inputs x; this network reads x"):
        Running().runner({})
