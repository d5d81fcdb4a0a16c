"""Keypoints by the names that files give them: spellings, sets, one order for all persons."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from dualhmr.keypoints.records import (
    KeypointNamesError,
    LowScoreError,
    PersonError,
    PersonRecord,
    Points,
)
from dualhmr.keypoints.sets import (
    COCO_17,
    KEYPOINT_SETS,
    KeypointSet,
    keypoint_set_for_count,
    known_names,
)
from dualhmr.untrusted import brief

MIN_NAMES = 6
"""Names of a person's keypoints that a list must have to be one of a person."""

# Abbreviations of parts, in keys as `_key` makes them.
_PARTS = {
    "shoulder": ("sho", "shldr"),
    "elbow": ("elb",),
    "wrist": ("wri",),
    "ankle": ("ank",),
    "smalltoe": ("littletoe",),
}
# The names of MMPose and of AlphaPose for the keypoints that Halpe has beside COCO's: "head" is the
# top of the head, and "hip" the middle of the hips. Elsewhere they are other points.
_HALPE_NAMES = {"head": "head_top", "neck": "neck", "hip": "mid_hip"}
_ANIMAL_PARTS = ("tail", "paw", "hoof", "wither", "wing", "beak")


def names_in_file(names: object) -> tuple[str | None, ...] | KeypointNamesError | None:
    """Return the known names that a file's list of names means, None for each that is not known.

    Case, spaces, hyphens, Unicode's compatible forms and common abbreviations do not matter
    ("Left-Shoulder", "left shoulder", "LShoulder", "shoulder_l", "l_sho"). None if it is no list
    of names, and KeypointNamesError if they are not those of a person.
    """
    if not isinstance(names, list) or not names:
        return None
    if not all(isinstance(name, str) for name in names):
        return None
    keys = [_key(name) for name in names]
    halpe = _HALPE_NAMES if {*_HALPE_NAMES, "leftbigtoe"} <= set(keys) else {}
    known = tuple(halpe.get(key) or _spellings().get(key) for key in keys)
    found = [name for name in known if name is not None]
    animal = any(part in key for key in keys for part in _ANIMAL_PARTS)
    if animal or len(found) < MIN_NAMES or len(set(found)) < len(found):
        examples = ", ".join(map(_short, names[:3]))
        return KeypointNamesError(
            f"its keypoints ({examples}, ...) are not those of a person as this software knows "
            f"them ({', '.join(COCO_17.names[:3])}, ...); pass keypoint_set (--keypoint-set) to "
            "say what they are"
        )
    return known


def in_one_order(
    persons: Sequence[PersonRecord | PersonError], wanted: KeypointSet | None
) -> tuple[KeypointSet, Points, dict[int, str]]:
    """Return a keypoint set, all persons' keypoints (P, K, 3) in its order, and who has none.

    The set is `wanted`, or else the smallest known one that has all names in the file. The
    dictionary holds the reason for every person that could not be read, all zeros in the array.
    Raises ValueError if nobody can be read and somebody is there who is damaged: with the reason.
    """
    named: dict[int, tuple[str | None, ...]] = {}
    problems: dict[int, str] = {}
    broken: list[str] = []
    for number, person in enumerate(persons):
        try:
            if isinstance(person, PersonError):
                raise person
            if len(person.points):
                named[number] = _names_of(person, wanted)
            else:
                problems[number] = "it has no keypoints"
        except PersonError as problem:
            problems[number] = str(problem)
            if not isinstance(problem, LowScoreError):
                broken.append(f"person {number}: {problem}")
    if broken and not named:
        raise ValueError(broken[0])
    chosen = wanted or _smallest_set({name for names in named.values() for name in names if name})
    points = np.zeros((len(persons), len(chosen), 3))
    for number, names in named.items():
        record = persons[number]
        assert isinstance(record, PersonRecord)
        rows = [row for row, name in enumerate(names) if name in chosen.names]
        points[number, [chosen.names.index(str(names[row])) for row in rows]] = record.points[rows]
    return chosen, points, problems


def _names_of(person: PersonRecord, wanted: KeypointSet | None) -> tuple[str | None, ...]:
    """The name of each keypoint of a person. Raises PersonError if nothing says what they are."""
    count, names = len(person.points), person.names
    if isinstance(names, KeypointNamesError):
        if wanted is None:
            raise names
        names = None
    if names is not None and len(names) != count:
        counted = wanted.names if wanted is not None else _names_for_count(count)
        # COCO-WholeBody's categories name only the first 17 of its 133.
        if len(counted) != count or counted[: len(names)] != names:
            raise KeypointNamesError(f"it has {count} keypoints, but its file names {len(names)}")
        return counted
    if names is None:
        named = _names_for_count(count) if wanted is None else wanted.names
        if len(named) != count:
            raise _wrong_count(count, wanted)
        return named
    if wanted is None or set(wanted.names) <= set(names):
        return names
    if count != len(wanted):
        raise _wrong_count(count, wanted)
    for own, other in zip(names, wanted.names, strict=True):
        if own is not None and own != other and other in known_names():
            raise KeypointNamesError(
                f"its file says {own} where the keypoint set {wanted.name!r} has {other}; leave "
                "keypoint_set out"
            )
    return wanted.names


def _wrong_count(count: int, wanted: KeypointSet | None) -> KeypointNamesError:
    name, size = (wanted.name, len(wanted)) if wanted is not None else ("", 0)
    return KeypointNamesError(
        f"it has {count} keypoints, but the keypoint set {name!r} has {size}; name the set that "
        "the file's keypoints are in"
    )


def _names_for_count(count: int) -> tuple[str, ...]:
    try:
        return keypoint_set_for_count(count).names
    except ValueError as error:
        raise KeypointNamesError(str(error)) from error


def _smallest_set(names: set[str]) -> KeypointSet:
    for known in sorted(KEYPOINT_SETS.values(), key=len):
        if names <= set(known.names):
            return known
    # Sorted, so that the order of the names in a file changes nothing.
    order = {name: place for place, name in enumerate(known_names())}
    return KeypointSet("keypoint_file", tuple(sorted(names, key=lambda name: order[name])))


@lru_cache(maxsize=1)
def _spellings() -> Mapping[str, str]:
    """The known name for each key."""
    spellings = {}
    for name in known_names():
        side, _, part = name.partition("_")
        if side in ("left", "right") and part:
            for part_key in (_key(part), *_PARTS.get(_key(part), ())):
                for side_key in (side, side[0]):
                    spellings[side_key + part_key] = name
                    spellings[part_key + side_key] = name
        else:
            spellings[_key(name)] = name
    return spellings


def _key(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in plain if character.isalnum())


def _short(name: str) -> str:
    return name if len(name) <= 30 else brief(name)
