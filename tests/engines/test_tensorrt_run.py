"""What can be said of running engines without a GPU: tensorrt_fakes.py takes its place."""

import gc
from pathlib import Path

import numpy as np
import pytest
import tensorrt_rtx
from helpers.tensorrt_fakes import DoublingEngine, HostMemory, fake_module
from hypothesis import given
from hypothesis import strategies as st

from dualhmr.engines.tensorrt.compiled_kernels import CompiledKernels
from dualhmr.engines.tensorrt.run import EngineRunner

WHOLE_GRAPH = tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE


class Running:
    def __init__(
        self,
        *,
        cuda_graph: bool = False,
        captures_by_itself: bool = False,
        max_batch: int = 8,
        kernels: CompiledKernels | None = None,
    ) -> None:
        self.engine = DoublingEngine()
        self.memory = HostMemory()
        self.runner = EngineRunner(
            fake_module(captures_by_itself=captures_by_itself),
            self.engine,
            self.memory,
            max_batch=max_batch,
            cuda_graph=cuda_graph,
            kernels=kernels,
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


def test_without_a_graph_a_context_serves_for_one_and_one_for_batches() -> None:
    running = Running()
    for persons in (1, 1, 2, 3, 4, 1):
        running.doubles(persons)
    one, batches = running.engine.contexts
    assert one.config is batches.config is None
    assert (one.profile, one.executed, batches.profile, batches.executed) == (0, 3, 1, 3)


def test_an_engine_without_a_profile_for_batches_has_one_context() -> None:
    running = Running()
    running.engine.num_optimization_profiles = 1
    running.runner = EngineRunner(
        fake_module(captures_by_itself=False),
        running.engine,
        running.memory,
        max_batch=8,
        cuda_graph=False,
    )
    running.doubles(3)
    assert running.engine.contexts[-1].executed == 1


def test_a_graph_is_captured_once_for_each_number_of_persons() -> None:
    running = Running(cuda_graph=True)
    for persons in (2, 3, 2, 2):
        running.doubles(persons)
    assert running.memory.captured == 2
    # Each was executed once to warm up, the rest are replays.
    assert [context.executed for context in running.engine.contexts] == [1 + 3, 1 + 1]
    assert [context.profile for context in running.engine.contexts] == [1, 1]
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


def kernels_in(folder: Path, *, gpu_name: str = "RTX 3090") -> CompiledKernels:
    return CompiledKernels(folder, "backbone", b"an engine", gpu_name=gpu_name)


def test_compiled_kernels_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    kernels = kernels_in(folder)
    running = Running(kernels=kernels)
    (context,) = running.engine.contexts
    context.config.cache.content = b"kernels 1"
    assert not folder.exists()
    running.doubles(1)
    (path,) = folder.glob("backbone.*.kernels")
    assert path.read_bytes() == b"kernels 1"
    running.doubles(2)
    assert running.engine.contexts[1].config.cache is context.config.cache
    context.config.cache.content = b"kernels 1 and 2"  # compiled beside the calls
    del running, kernels
    gc.collect()
    assert path.read_bytes() == b"kernels 1 and 2"
    again = Running(kernels=kernels_in(folder))
    assert again.engine.contexts[0].config.cache.content == b"kernels 1 and 2"
    other = Running(kernels=kernels_in(folder, gpu_name="RTX A4000"))
    assert other.engine.contexts[0].config.cache.content == b""


@pytest.mark.parametrize("harm", ["cut", "refused", "folder"])
def test_compiled_kernels_that_cannot_be_used(tmp_path: Path, harm: str) -> None:
    if harm == "folder":
        (tmp_path / "cache").write_text("a file")
    first = Running(kernels=kernels_in(tmp_path / "cache"))
    first.engine.contexts[0].config.cache.content = b"other" if harm == "refused" else b"kernels"
    first.doubles(1)
    for path in (tmp_path / "cache").glob("*.kernels") if harm == "cut" else ():
        path.write_bytes(b"kern")
    again = Running(kernels=kernels_in(tmp_path / "cache"))
    assert again.engine.contexts[0].config.cache.content == b""
    again.doubles(1)


def test_without_an_input_nothing_runs() -> None:
    with pytest.raises(ValueError, match="missing inputs x; this network reads x"):
        Running().runner({})
