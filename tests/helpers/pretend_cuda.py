"""A pretend CUDA device: real numbers on the CPU behind tensors that say they are on `cuda:0`.

It counts what costs time on a GPU - kernel launches, graph launches, copies and waits - and notes
what a graph capture forbids. A captured graph is a list of operations with the memory they read
and write; a replay does them again on the same memory, as CUDA does.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)
_WAITING = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "equal"}
_WAITING |= {"linalg_eigh", "_linalg_eigh", "linalg_qr", "bincount"}
_MADE_FOR_WRAPPERS = {"_to_copy", "scalar_tensor"}
_NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"}
_NO_KERNEL |= {"detach", "alias", "lift_fresh", "view", "_unsafe_view", "_reshape_alias"}


@dataclass
class Counts:
    """What was asked of the device since the last `reset`."""

    launches: int = 0
    """Kernels launched one by one, by PyTorch or CuPy."""
    graphs: int = 0
    """Graphs launched."""
    to_device: int = 0
    to_host: int = 0
    waits: Counter[str] = field(default_factory=Counter)
    """How often the host waits for the device, by what makes it wait."""
    illegal: Counter[str] = field(default_factory=Counter)
    """What happened during a capture and must not."""
    kernels: Counter[str] = field(default_factory=Counter)
    """The launched kernels by name."""
    nodes: list[int] = field(default_factory=list)
    """Kernels of each captured graph."""

    def reset(self) -> None:
        """Counts from zero."""
        vars(self).update(vars(Counts()))

    def wait(self, reason: str) -> None:
        """Notes a wait."""
        self.waits[reason] += 1
        if _recording is not None:
            self.illegal[reason] += 1

    def launch(self, name: str, again: Callable[[], object]) -> None:
        """Notes a kernel; `again` does its work once more on the same memory."""
        if _recording is not None:
            _recording.append((name, again))
        else:
            self.launches += 1
            self.kernels[name] += 1


counts = Counts()
_recording: list[tuple[str, Callable[[], object]]] | None = None
_memory: list[Any] = []
"""Of captures: a pool keeps it, and kernels know only addresses."""


class _OnDevice(Tensor):
    """A tensor that says it is on `cuda:0`; `on_host` holds the numbers."""

    on_host: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> "_OnDevice":
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=torch.device("meta"),
        )
        made.on_host = real
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    def __getitem__(self, index: Any) -> Tensor:
        return Tensor.__getitem__(self, _moved_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, int | float):
            value = torch.full((), value, dtype=self.dtype, device=CUDA)
        Tensor.__setitem__(self, _moved_index(index), value)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"cuda:0 {self.on_host}"

    def data_ptr(self) -> int:
        return self.on_host.data_ptr()

    def tolist(self) -> Any:
        counts.wait("tolist")
        return self.on_host.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.prim.device.default:
        return CUDA
    tensors = [part for part in pytree.tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
    ours = any(isinstance(tensor, _OnDevice) for tensor in tensors)
    target = kwargs.get("device")
    name = func._schema.name.split("::")[1]
    # To PyTorch's own code a wrapper is on "meta": that is where it makes more, and moves others.
    kind = None if target is None else torch.device(target).type
    to_cuda = kind == "cuda" or (kind == "meta" and (ours or name in _MADE_FOR_WRAPPERS))
    if not (ours or to_cuda):
        return func(*args, **kwargs)
    result_here = True
    if name == "_to_copy" and target is not None:
        if not ours:
            counts.to_device += 1
            counts.wait("copy from pageable memory")
        elif not to_cuda:
            counts.to_host += 1
            counts.wait("copy to the host")
            result_here = False
        elif kwargs.get("dtype") in (None, args[0].dtype):
            return args[0]  # `to` the device where it is
    elif name == "copy_" and not isinstance(args[1], _OnDevice):
        counts.to_device += 1
        if not (getattr(args[1], "pretends_pinned", False) and (*args, False)[2]):
            counts.wait("copy from pageable memory")
    elif name == "copy_" and not isinstance(args[0], _OnDevice):
        counts.to_host += 1
        counts.wait("copy to the host")
        result_here = False
    elif any(tensor.dim() and not isinstance(tensor, _OnDevice) for tensor in tensors):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, cuda:0 and cpu")
    if name in _WAITING or (name in ("index", "index_put_") and _by_mask(args[1])):
        counts.wait(name)
    if to_cuda:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = pytree.tree_map(
        lambda part: part.on_host if isinstance(part, _OnDevice) else part, (args, kwargs)
    )
    outputs = func(*args, **kwargs)
    if name == "_local_scalar_dense" or not result_here:
        return outputs
    if _recording is not None:
        _memory.append(outputs)
    is_view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
    if name not in _NO_KERNEL and not is_view:
        counts.launch(name, lambda: _again(func, args, kwargs, outputs))
    if func._schema.is_mutable and outputs is args[0]:
        return next(tensor for tensor in tensors if getattr(tensor, "on_host", None) is outputs)
    return pytree.tree_map(lambda out: _OnDevice(out) if isinstance(out, Tensor) else out, outputs)


def _again(func: Any, args: Any, kwargs: Any, outputs: Any) -> None:
    """The operation once more, its results where they were."""
    results = func(*args, **kwargs)
    pairs = zip(pytree.tree_leaves(outputs), pytree.tree_leaves(results), strict=True)
    for kept, result in pairs:
        if isinstance(kept, Tensor) and kept is not result:
            kept.copy_(result)


def _by_mask(indices: Any) -> bool:
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)


def _moved_index(index: Any) -> Any:
    """An index with lists and the host's tensors on the device, as PyTorch does; that waits."""

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return torch.tensor(part).to(CUDA)
        on_host = isinstance(part, Tensor) and not isinstance(part, _OnDevice) and part.dim()
        return part.to(CUDA) if on_host else part

    return tuple(map(moved, index)) if isinstance(index, tuple) else moved(index)


class _Graph:
    """`torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, Callable[[], object]]] = []

    def replay(self) -> None:
        counts.graphs += 1
        for _, again in self.nodes:
            again()


@contextmanager
def _capture(graph: _Graph, *_: Any, **__: Any) -> Iterator[None]:
    """`torch.cuda.graph`. The work has been done once when it ends, which CUDA does not do."""
    global _recording
    _recording = graph.nodes
    try:
        yield
    finally:
        _recording = None
    counts.nodes.append(len(graph.nodes))


class _Stream:
    cuda_stream = 1234

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_stream(self, _: Any) -> None: ...

    def synchronize(self) -> None:
        counts.wait("synchronize")


class _Event:
    """A host that waits for an event here waits for work that is done already."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class _RawKernel:
    """`cupy.RawKernel`: the kernel compiled as C++."""

    def __init__(self, source: str, name: str, options: tuple[str, ...] = ()) -> None:
        from helpers.cpp_kernels import cpp_function

        self._name, self._function = name, cpp_function(source, name, options)

    def compile(self) -> None:
        """Nothing to do."""

    def __call__(self, grid: Any, _: Any, arguments: Any) -> None:
        def again() -> None:
            self._function(grid, arguments)

        again()
        counts.launch(self._name, again)


def _cupy() -> Any:
    stream = SimpleNamespace(from_external=lambda _: nullcontext())
    return SimpleNamespace(
        RawKernel=_RawKernel,
        cuda=SimpleNamespace(Device=lambda _: nullcontext(), Stream=stream),
        __version__="14.pretended",
    )


def _module_to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """`nn.Module.to`, which writes into parameters where a wrapper cannot be written into."""
    device = kwargs.get("device", args[0] if args else None)
    if not isinstance(device, str | torch.device) or torch.device(device).type != "cuda":
        return _real_module_to(module, *args, **kwargs)
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, tensor in store.items():
                if tensor is not None and not isinstance(tensor, _OnDevice):
                    counts.to_device += 1
                    store[name] = _OnDevice(tensor.detach())  # type: ignore[assignment]
    return module


def _pinned(tensor: Tensor, *_: Any) -> Tensor:
    copy = tensor.clone()
    copy.pretends_pinned = True  # type: ignore[attr-defined]
    return copy


def _tensor(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
    made = _real_tensor(data, *args, **kwargs)
    return made if device is None else made.to(device)


_real_module_to, _real_tensor = nn.Module.to, torch.tensor


@contextmanager
def pretend_cuda() -> Iterator[Counts]:
    """PyTorch sees one GPU; CuPy is there, and compiles kernels as C++."""
    torch._C._ensureCUDADeviceGuardSet()
    counts.reset()
    fakes: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_stream": _Stream,
        "Stream": _Stream,
        "Event": _Event,
        "stream": lambda _: nullcontext(),
        "device": lambda _: nullcontext(),
        "graph_pool_handle": lambda: (0, 1),
        "CUDAGraph": _Graph,
        "graph": _capture,
        "synchronize": lambda *_: counts.wait("synchronize"),
    }
    with (
        patch.multiple(torch.cuda, **fakes),
        patch.object(torch, "tensor", _tensor),
        patch.object(nn.Module, "to", _module_to),
        patch.object(Tensor, "pin_memory", _pinned),
        patch.dict(sys.modules, {"cupy": _cupy()}),
        _Mode(),
    ):
        yield counts
