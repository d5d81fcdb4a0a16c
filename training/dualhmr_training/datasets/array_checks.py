"""Arrays out of users' files -> arrays of known shape and kind, or an error that says which."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_numbers(
    name: str, array: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64 | np.float32]:
    """`array` as real numbers of `shape`, single precision unless the file has more."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def as_text(name: str, array: NDArray[Any], count: int) -> NDArray[np.str_]:
    """`array` (count,) of text, which Python 2 saved as bytes."""
    if array.dtype.kind not in "SU":
        raise ValueError(f"{name} holds {array.dtype}, expected text")
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, expected {(count,)}")
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)


def check_persons(good: NDArray[np.bool_], name: str, problem: str) -> None:
    """ValueError naming the first person for whom `good` (N, ...) does not hold throughout."""
    bad = np.logical_not(good.reshape(len(good), -1).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{name} of person {int(bad.argmax())} {problem} ({int(bad.sum())} of {len(bad)} such)"
        )


def masked(name: str, array: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`array` (N, ...) in single precision, zero for all that is not `known` (N, ...).

    `known` has the first axes of `array`. ValueError where a known number is not finite.
    """
    known = known.reshape(known.shape + (1,) * (array.ndim - known.ndim))
    check_persons(np.isfinite(array) | ~known, name, "is not finite")
    return np.where(known, array, 0).astype(np.float32)


def split_confidence(
    name: str, points: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`points` (N, K, D + 1) -> positions (N, K, D), and confidence (N, K) clipped to [0, 1]."""
    check_persons(~np.isnan(points[..., -1]), f"the confidence in {name}", "is NaN")
    confidence = points[..., -1].clip(0, 1).astype(np.float32)
    return masked(name, points[..., :-1], confidence > 0), confidence
