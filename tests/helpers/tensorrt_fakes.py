"""An engine that doubles, and memory of the host in the place of a GPU's.

They keep to the contract of TensorRT's execution contexts: input shapes first, then every tensor's
address, and results appear at the addresses when the context is executed, and no earlier.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import tensorrt_rtx

STREAM = 7


def fake_module(*, captures_by_itself: bool) -> Any:
    """A library's module, of which running an engine needs little."""
    module: Any = ModuleType("fake_tensorrt")
    module.ILogger = tensorrt_rtx.ILogger
    module.TensorIOMode = tensorrt_rtx.TensorIOMode
    if captures_by_itself:
        module.CudaGraphStrategy = tensorrt_rtx.CudaGraphStrategy
    return module


class DoublingContext:
    """y = 2 x for x (N, 3), N at most `largest`."""

    def __init__(self, largest: int, config: Any) -> None:
        self.largest = largest
        self.config = config
        self.shape: tuple[int, ...] | None = None
        self.addresses: dict[str, int] = {}
        self.profile = 0
        self.executed = 0
        self.fails = False

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream == STREAM
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "x"
        self.shape = shape
        return shape[0] <= self.largest

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == STREAM
        assert self.shape is not None
        assert sorted(self.addresses) == ["x", "y"]
        self.executed += 1
        x, y = (_at(self.addresses[name], self.shape) for name in "xy")
        y[:] = 2 * x
        return not self.fails


class DoublingEngine:
    """Makes such contexts, and counts them."""

    num_io_tensors = 2
    num_optimization_profiles = 2

    def __init__(self, largest: int = 4, kind: str = "FLOAT") -> None:
        self.largest = largest
        self.kind = kind
        self.contexts: list[DoublingContext] = []

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = tensorrt_rtx.TensorIOMode
        return modes.INPUT if name == "x" else modes.OUTPUT

    def get_tensor_dtype(self, _name: str) -> Any:
        return SimpleNamespace(name=self.kind)

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        return (-1, 3)

    def create_runtime_config(self) -> Any:
        return fake_runtime_config()

    def create_execution_context(self, config: Any = None) -> DoublingContext:
        self.contexts.append(DoublingContext(self.largest, config))
        return self.contexts[-1]


class OnnxEngine:
    """A graph of float32 tensors of fixed shapes, which ONNX Runtime runs in an engine's place."""

    num_optimization_profiles = 0

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        nodes = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.shapes = {node.name: tuple(node.shape) for node in nodes}
        self.num_io_tensors = len(nodes)
        self.contexts: list[OnnxContext] = []

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_dtype(self, _name: str) -> Any:
        return SimpleNamespace(name="FLOAT")

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def create_runtime_config(self) -> Any:
        return fake_runtime_config()

    def create_execution_context(self, config: Any = None) -> "OnnxContext":
        self.contexts.append(OnnxContext(self, config))
        return self.contexts[-1]


class OnnxContext:
    """Reads and writes at the addresses of its tensors, as TensorRT's contexts do."""

    def __init__(self, engine: OnnxEngine, config: Any) -> None:
        self.engine, self.config, self.executed = engine, config, 0
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert not self.executed, "a captured graph is void once its context changes"
        self.addresses[name] = address
        return name in self.engine.shapes

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == STREAM
        session, shapes = self.engine.session, self.engine.shapes
        assert set(self.addresses) == set(shapes)
        arrays = {name: _at(self.addresses[name], shapes[name]) for name in shapes}
        outputs = [node.name for node in session.get_outputs()]
        inputs = {node.name: arrays[node.name] for node in session.get_inputs()}
        for name, value in zip(outputs, session.run(outputs, inputs), strict=True):
            arrays[name][...] = value
        self.executed += 1
        return True


def fake_runtime_config() -> Any:
    """Keeps what it is given."""
    config = SimpleNamespace(cuda_graph_strategy=None, create_runtime_cache=FakeRuntimeCache)
    config.set_runtime_cache = lambda cache: vars(config).update(cache=cache)
    return config


class FakeRuntimeCache:
    """RTX's cache: it takes back what it has written, and nothing else."""

    def __init__(self) -> None:
        self.content = b""

    def serialize(self) -> bytes:
        return self.content

    def deserialize(self, content: bytes) -> bool:
        self.content = content if content.startswith(b"kernels") else b""
        return bool(self.content)


class HostMemory:
    """`DeviceMemory` of NumPy arrays."""

    def __init__(self) -> None:
        self.captured = 0

    def on_device(self) -> AbstractContextManager[Any]:
        return nullcontext()

    @contextmanager
    def on_stream(self) -> Iterator[int]:
        yield STREAM

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        return np.full(tuple(shape), 99, dtype)

    def address(self, array: Any) -> int:
        return int(array.ctypes.data)

    def upload(self, values: np.ndarray, target: Any) -> None:
        target[...] = values

    def copy(self, source: Any, target: Any) -> None:
        target[...] = source

    def join(self, arrays: Sequence[Any]) -> Any:
        return np.concatenate(arrays)

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        return run


def _at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(pointer, shape)
