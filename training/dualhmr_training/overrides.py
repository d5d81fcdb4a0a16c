"""Fields of a configuration by dotted names: set from the command line, and compared."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from dualhmr.plain_data import from_plain

T = TypeVar("T")


def with_overrides(config: T, arguments: Sequence[str]) -> T:
    """`config` with the fields that `arguments` name: `--a.field value`, or `--a.field=value`.

    Values are JSON, or text where they are none: `--steps 100`, `--inner.losses
    '["keypoints_2d"]'`, `--auxiliary null`, `--precision bf16`. Raises ValueError for a field that
    is not there, a value of the wrong type, or arguments that are not such pairs.
    """
    plain = asdict(config)  # type: ignore[call-overload]
    for name, text in _pairs(arguments):
        _set(plain, name.split("."), _value(text))
    return from_plain(type(config), plain)


def differences(there: object, here: object) -> list[str]:
    """What two configurations of one class differ in, for people to read."""
    return list(_differences(asdict(there), asdict(here), ""))  # type: ignore[call-overload]


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    left = iter(arguments)
    for argument in left:
        if not argument.startswith("--"):
            raise ValueError(f"{argument!r} is not a field; write --field value")
        name, joined, text = argument[2:].partition("=")
        value = text if joined else next(left, None)
        if value is None:
            raise ValueError(f"{argument} needs a value after it")
        yield name, value


def _set(plain: dict[str, Any], path: list[str], value: object) -> None:
    """Sets what is already there; a dict's entries count as fields."""
    *parents, last = path
    fields: Any = plain
    for depth, parent in enumerate(parents):
        _check_field(fields, path[:depth], parent)
        fields = fields[parent]
    _check_field(fields, parents, last)
    fields[last] = value


def _check_field(fields: object, path: list[str], name: str) -> None:
    where = ".".join(path)
    field = f"--{where}.{name}" if where else f"--{name}"
    if not isinstance(fields, dict):
        raise ValueError(f"there is no field {field}: {where} is {json.dumps(fields)}")
    if name not in fields:
        raise ValueError(f"there is no field {field}; known here are {', '.join(fields)}")


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str) -> Iterator[str]:
    for name in {**there, **here}:
        was, now = there.get(name), here.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differences(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name} was {json.dumps(was)} and is {json.dumps(now)}"
