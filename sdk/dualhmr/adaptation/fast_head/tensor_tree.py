"""Copies of all tensors that an object holds, and filling them from another object like it.

A captured CUDA graph reads the same addresses at every replay, so each person's evidence is copied
there. Objects are seen as trees: tuples, lists, dicts, `functools.partial`, bound methods, and
objects with a `__dict__`. Anything else is a leaf.
"""

import copy
from collections.abc import Collection, Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def clone_tensors(tree: T, shared: Collection[object] = ()) -> T:
    """`tree` with copies of its tensors, except those that `shared` objects (a body, ...) hold too.

    Raises TypeError for a function with a closure, as its tensors cannot be found.
    """
    memory = {
        _address(leaf) for one in shared for _, leaf in _leaves(one) if isinstance(leaf, Tensor)
    }
    return _clone(tree, {id(one) for one in shared}, memory)


def copy_tensors_into(target: object, source: object) -> None:
    """Copies `source`'s tensors into `target`, which came from `clone_tensors`.

    Shared tensors stay. Raises ValueError where the two differ in anything but tensors' values.
    """
    ours, theirs = dict(_leaves(target, source)), dict(_leaves(source, target))
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


def _clone(tree: Any, shared: set[int], memory: set[int]) -> Any:
    def again(part: Any) -> Any:
        return _clone(part, shared, memory)

    if id(tree) in shared:
        return tree
    if isinstance(tree, Tensor):
        return tree if _address(tree) in memory else tree.detach().clone()
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
        clone = copy.copy(tree)
        vars(clone).update(again(vars(tree)))
        return clone
    return tree


def _leaves(tree: Any, other: Any = None, path: str = "it") -> Iterator[tuple[str, Any]]:
    """Leaves by their paths; a part that is the very same object in `other` is one leaf."""
    parts = _parts(tree)
    if parts is None or tree is other:
        yield path, tree
        return
    others = _parts(other) or {}
    for name, part in parts.items():
        yield from _leaves(part, others.get(name), f"{path}.{name}")


def _parts(tree: Any) -> dict[str, Any] | None:
    """Parts by name, None for a leaf."""
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


def _address(tensor: Tensor) -> int:
    """Of its storage: views of one tensor share it."""
    return tensor.untyped_storage().data_ptr()
