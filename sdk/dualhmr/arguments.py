"""Checks of what users pass: errors say what came, what is expected; and the messages of errors."""

import math
import reprlib
from numbers import Integral, Real
from typing import Any

EXPECTED_ERRORS = (
    ValueError,
    TypeError,
    OSError,
    ImportError,
    RuntimeError,
    MemoryError,
    FloatingPointError,
)
"""Whose message is for users; any other is a fault of this project."""


def finite_number(name: str, value: object, expected: str = "a number") -> float:
    """A finite number as float: Python's, NumPy's, or an array of none dimension.

    Raises TypeError for what is no number, as are booleans and text; ValueError for NaN and
    infinity.
    """
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {shown(value)}, which is not finite; expected {expected}")
    return number


def whole_number(name: str, value: object, expected: str = "a whole number") -> int:
    """An integer, Python's or NumPy's. Raises TypeError for others, as are booleans and 3.0."""
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    return int(value)


def check_type(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Raises TypeError unless `value` is of one of `kinds`, which `expected` says in words."""
    if not isinstance(value, kinds):
        raise TypeError(
            f"{name} is {shown(value)} of type {type(value).__name__}, expected {expected}"
        )


def message_of(error: BaseException) -> str:
    """Returns the message for users, with the error's type if it is not in `EXPECTED_ERRORS`."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, EXPECTED_ERRORS):
        return text or name
    return f"{name}: {text}" if text else name


def shown(value: object) -> str:
    """`repr`, cut in the middle to some 80 characters."""
    return _REPR.repr(value)


def _scalar(value: Any) -> object:
    """Scalars of NumPy, and arrays and tensors of none dimension, as Python's."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80
