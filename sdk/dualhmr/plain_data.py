"""Dataclasses from plain JSON values, strictly: a misspelt or mistyped field is an error.

Our own, because msgspec ignores unknown fields of dataclasses and cattrs converts mistyped values
("3" to 3).
"""

import dataclasses
import types
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dualhmr.untrusted import brief

T = TypeVar("T")


def from_plain(cls: type[T], plain: object, *, where: str = "") -> T:
    """Builds the dataclass `cls` from the dict `plain`, nested dataclasses included.

    Raises ValueError that names the field: unknown, missing without a default, or of another type.
    """
    owner = where or cls.__name__
    if not isinstance(plain, dict):
        raise ValueError(f"{owner} is {brief(plain)}, expected an object with fields")
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(plain) - set(fields))
    if unknown:
        raise ValueError(
            f"unknown {owner} field {', '.join(unknown)}; known are {', '.join(fields)}"
        )
    values = {}
    for name, field in fields.items():
        if name in plain:
            values[name] = _value(hints[name], plain[name], f"{where}.{name}" if where else name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{owner} lacks the field {name}")
    return cls(**values)


def _value(hint: Any, plain: object, where: str) -> Any:
    """`plain` as the type `hint`. An int is accepted for a float, a list for a tuple."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return plain
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, plain, where=where)
    if origin is types.UnionType:
        if plain is None and types.NoneType in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not types.NoneType)
        return _value(hint, plain, where)
    if origin is tuple and isinstance(plain, list | tuple):
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(plain)
        if len(arguments) != len(plain):
            raise ValueError(f"{where} has {len(plain)} entries, expected {len(arguments)}")
        return tuple(
            _value(hint, value, f"{where}[{index}]")
            for index, (hint, value) in enumerate(zip(arguments, plain, strict=True))
        )
    if origin is dict and isinstance(plain, dict):
        return {
            str(key): _value(arguments[1], value, f"{where}.{key}") for key, value in plain.items()
        }
    if hint is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    # A bool is an int in Python, but not in JSON.
    if origin is None and isinstance(plain, hint) and (hint is bool or not isinstance(plain, bool)):
        return plain
    raise ValueError(f"{where} is {brief(plain)}, expected {hint if origin else hint.__name__}")
