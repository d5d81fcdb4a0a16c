"""Fields of a configuration from the command line: `--inner.learning_rate 1e-3`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from dualhmr.plain_data import from_plain

T = TypeVar("T")


def with_overrides(config: T, arguments: Sequence[str]) -> T:
    """`config` with the fields that `arguments`, pairs of `--a.field` and a value, name.

    Values are JSON, or text where they are none: `--steps 100`, `--inner.losses
    '["keypoints_2d"]'`, `--auxiliary null`, `--precision bf16`. Raises ValueError for a field that
    is not there, a value of the wrong type, or arguments that are not such pairs.
    """
    plain = asdict(config)  # type: ignore[call-overload]
    if len(arguments) % 2:
        raise ValueError(f"{arguments[-1]} needs a value after it")
    for name, text in zip(arguments[::2], arguments[1::2], strict=True):
        if not name.startswith("--"):
            raise ValueError(f"{name!r} is not a field; write --field value")
        _set(plain, name[2:].split("."), _value(text), name)
    return from_plain(type(config), plain)


def _set(plain: dict[str, Any], path: list[str], value: object, name: str) -> None:
    *parents, last = path
    for parent in parents:
        plain = plain.get(parent) if isinstance(plain.get(parent), dict) else {}  # type: ignore[assignment]
    if last not in plain:
        known = f"; known here are {', '.join(plain)}" if plain else ""
        raise ValueError(f"there is no field {name}{known}")
    plain[last] = value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
