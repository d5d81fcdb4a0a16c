"""The flat lists of x, y, confidence that keypoint files hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def triplets(numbers: object, owner: str) -> NDArray[np.float64]:
    """Return (K, 3) x, y, confidence from a flat list read from JSON.

    ValueError, naming the list's `owner`, when it is anything else.
    """
    if not isinstance(numbers, list) or not numbers or len(numbers) % 3:
        came = f"{len(numbers)} values" if isinstance(numbers, list) else type(numbers).__name__
        raise ValueError(f"{owner} must be a flat list of x, y, confidence, but is {came}")
    others = [value for value in numbers if type(value) not in (int, float)]
    if others:
        raise ValueError(f"{owner} must hold numbers only, but holds {others[0]!r}")
    try:
        return np.array(numbers, dtype=np.float64).reshape(-1, 3)
    except OverflowError as error:
        raise ValueError(f"{owner} holds a number that is too large") from error


def stack_persons(persons: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return (P, K, 3) from P arrays (K, 3); ValueError when persons differ in K."""
    counts = sorted({len(person) for person in persons})
    if len(counts) > 1:
        raise ValueError(
            f"persons have different numbers of keypoints ({', '.join(map(str, counts))}); "
            "all persons of an image must have the same"
        )
    return np.stack(persons)
