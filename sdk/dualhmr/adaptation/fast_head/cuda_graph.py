"""An object's tensors as memory of our own, and filling it anew from another object like it.

A captured graph reads the same addresses at every replay; what it is to work on is copied there.
Objects are seen as trees: tuples, lists, dicts, `functools.partial`, bound methods, and whatever
keeps its attributes in `__dict__`. Anything else is a leaf.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def own(tree: T, shared: Collection[object] = ()) -> T:
    """`tree` with all tensors copied, but those that `shared` objects, such as a body, hold too.

    Raises TypeError for a function that has variables of its own, into which nobody can see.
    """
    memory = {_memory(leaf) for one in shared for _, leaf in _leaves(one) if _is_tensor(leaf)}
    return _own(tree, {id(one) for one in shared}, memory)


def refill(mine: object, other: object) -> None:
    """Copies `other`'s tensors into `mine`, which came from `own`; what both share stays.

    Raises ValueError where the two differ in anything but the tensors' values.
    """
    ours, theirs = dict(_leaves(mine, other)), dict(_leaves(other, mine))
    if ours.keys() != theirs.keys():
        odd = ", ".join(sorted(ours.keys() ^ theirs.keys()))
        raise ValueError(f"not like what was captured, which has or lacks {odd}; capture anew")
    for path, leaf in ours.items():
        value = theirs[path]
        if not _fits(leaf, value):
            raise ValueError(
                f"not like what was captured: {path} is {_described(value)}, expected "
                f"{_described(leaf)}; capture anew"
            )
    for path, leaf in ours.items():
        value = theirs[path]
        if isinstance(leaf, Tensor) and leaf.data_ptr() != value.data_ptr():
            leaf.copy_(value)


def _own(tree: Any, shared: set[int], memory: set[int]) -> Any:
    def again(part: Any) -> Any:
        return _own(part, shared, memory)

    if id(tree) in shared:
        return tree
    if isinstance(tree, Tensor):
        return tree if _memory(tree) in memory else tree.detach().clone()
    if isinstance(tree, FunctionType) and tree.__closure__:
        raise TypeError(f"cannot see which tensors {tree.__qualname__} holds; use an object")
    if isinstance(tree, tuple):
        parts = [again(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [again(part) for part in tree]
    if isinstance(tree, dict):
        return {key: again(part) for key, part in tree.items()}
    if isinstance(tree, partial):
        return partial(again(tree.func), *again(tree.args), **again(tree.keywords))
    if isinstance(tree, MethodType):
        return MethodType(tree.__func__, again(tree.__self__))
    if _has_attributes(tree):
        made = copy.copy(tree)
        vars(made).update(again(vars(tree)))
        return made
    return tree


def _leaves(tree: Any, other: Any = None, path: str = "it") -> Iterator[tuple[str, Any]]:
    """Leaves by their paths; what is the very same object in `other` is one leaf."""
    parts = _parts(tree)
    if parts is None or tree is other:
        yield path, tree
        return
    others = _parts(other) or {}
    for name, part in parts.items():
        yield from _leaves(part, others.get(name), f"{path}.{name}")


def _parts(tree: Any) -> dict[str, Any] | None:
    if isinstance(tree, tuple) and hasattr(tree, "_asdict"):
        return dict(tree._asdict())
    if isinstance(tree, tuple | list):
        return {str(index): part for index, part in enumerate(tree)}
    if isinstance(tree, dict):
        return {str(key): part for key, part in tree.items()}
    if isinstance(tree, partial):
        return {"func": tree.func, "args": tree.args, "keywords": tree.keywords}
    if isinstance(tree, MethodType):
        return {"func": tree.__func__, "self": tree.__self__}
    return vars(tree) if _has_attributes(tree) else None


def _has_attributes(tree: object) -> bool:
    plain = isinstance(tree, Tensor | FunctionType | ModuleType | type)
    return not plain and hasattr(tree, "__dict__")


def _fits(leaf: Any, value: Any) -> bool:
    if isinstance(leaf, Tensor) and isinstance(value, Tensor):
        return (leaf.shape, leaf.dtype, leaf.device) == (value.shape, value.dtype, value.device)
    if isinstance(leaf, Tensor) or isinstance(value, Tensor):
        return False
    return leaf is value or bool(leaf == value)


def _described(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return f"a tensor {tuple(leaf.shape)} of {leaf.dtype} on {leaf.device}"
    return repr(leaf)


def _is_tensor(leaf: object) -> bool:
    return isinstance(leaf, Tensor)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


# Doing the same work on the same memory again and again: as a CUDA graph, or simply again.
#
# `CudaReplay` has not run on a GPU yet.


Work = Callable[[], None]
"""Reads and writes tensors that stay where they are, and never waits for the device."""

MOST_WARM_UPS = 3


class Replay(Protocol):
    """A way to do work again."""

    def capture(self, work: Work) -> Work:
        """What does `work` again; it may be done up to `MOST_WARM_UPS` times meanwhile."""
        ...


class EagerReplay:
    """Does the work as it is, anywhere."""

    def __init__(self, *, warm_ups: int = 0) -> None:
        """`warm_ups` says how often it is done at the capture."""
        self._warm_ups = warm_ups

    def capture(self, work: Work) -> Work:
        """The work itself."""
        for _ in range(self._warm_ups):
            work()
        return work


class CudaReplay:
    """One launch for all kernels of the work; the memory in between is shared among captures.

    That is safe as replays follow each other on one stream and leave nothing there: what stays is
    written to memory from outside.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, work: Work) -> Work:
        """Warms up, so that kernels are compiled and libraries started, and captures."""
        with torch.cuda.device(self._device), without_tf32():
            current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
            graph = torch.cuda.CUDAGraph()
            aside.wait_stream(current)
            with torch.cuda.stream(aside):
                for _ in range(MOST_WARM_UPS):
                    work()
            current.wait_stream(aside)
            with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
                work()
        return graph.replay


def replay_for(device: torch.device) -> Replay:
    """CUDA graphs on a GPU, eager elsewhere."""
    return CudaReplay(device) if device.type == "cuda" else EagerReplay()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Products of float32 in float32: TF32 moves the losses by 3e-4 to 1e-3."""
    matmul = torch.backends.cuda.matmul
    name: str
    value: object
    try:
        name, value, before = "allow_tf32", False, matmul.allow_tf32
    except RuntimeError:
        # PyTorch's newer way to say it was used before; the two do not mix.
        name, value, before = "fp32_precision", "ieee", matmul.fp32_precision
    setattr(matmul, name, value)
    try:
        yield
    finally:
        setattr(matmul, name, before)
