"""Batches larger than an engine takes, run in parts. Knows no engine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt


def batch_size(inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    """The number of persons, which every input has first; ValueError where they disagree."""
    sizes = {name: len(value) for name, value in inputs.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"every input holds the same persons, but their numbers are {sizes}")
    return next(iter(sizes.values()))


def in_batches(
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, Any]],
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    largest: int,
    join: Callable[[Sequence[Any]], Any],
) -> dict[str, Any]:
    """What `run(inputs)` gives, from parts of at most `largest` persons that `join` puts together.

    `join` concatenates arrays along their first dimension; it is not called for a single part.
    """
    persons = batch_size(inputs)
    if persons <= largest:
        return dict(run(inputs))
    parts = [
        run({name: value[start : start + largest] for name, value in inputs.items()})
        for start in range(0, persons, largest)
    ]
    return {name: join([part[name] for part in parts]) for name in parts[0]}
