"""Motion files of other projects -> rotation vectors in a y-up world; nothing in them is run.

What is read:

- AMASS: an `.npz` with `poses` (F, 156 | 165 | 72), or `root_orient` and `pose_body`; z is up
- SMPL sequences: a `.pkl` with `poses` (3DPW's: an array for each person), `smpl_poses` (AIST++),
  `fullpose`, or `global_orient` and `body_pose`, as rotation vectors (F, ...)
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.body.data_pickle import JoblibArray, Ordered, read_data_pickle
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.body.smpl_pickle import Record
from dualhmr.rotations import rotmat_to_rotvec
from dualhmr.untrusted import brief, one_value_error, read_npz

Array = npt.NDArray[np.float64]

MOTION_SUFFIXES = (".npz", ".pkl", ".pickle")

_LARGEST_BYTES = 1 << 30
_MOST_PERSONS = 100
_WHOLE = ("poses", "smpl_poses", "fullpose")
"""Names of arrays with all joints."""
_SPLIT = (("root_orient", "pose_body"), ("global_orient", "body_pose"))
"""Names of the orientation and of the other joints."""
_RATES = ("mocap_framerate", "mocap_frame_rate", "fps", "frame_rate")
_ARRAYS = (*_WHOLE, *(name for pair in _SPLIT for name in pair), *_RATES)
_SMPL, _BODY = 3 * JOINT_COUNT, 3 * 22
_WIDTHS = {_SMPL: _SMPL, _BODY: _BODY, 156: _BODY, 165: _BODY}
"""Numbers in a row of SMPL, the body alone, SMPL-H and SMPL-X; how many are of SMPL's joints."""
_HIGHEST_RATE = 10.0
"""Frames per second that are looked at, where the file says how many it has."""
_LEAST_CHANGE = math.radians(5)
"""Mean angle over the joints between two frames that are kept."""
_BLOCK = 64

# Rotations from a file's world into one with y up, by the body's up in the file.
_Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
_WORLDS = (np.eye(3), _Z_UP, np.diag([1.0, -1.0, -1.0]))


class Motion(NamedTuple):
    """A person's poses in a file, thinned."""

    person: int | None
    """None: the file's only one."""
    rotvecs: Array
    """(F, 24, 3) radians, at most pi long; joint 0 is the orientation in a y-up world."""


def read_motions(path: Path) -> list[Motion]:
    """The persons of a file, none where it has no poses, as the `shape.npz` beside AMASS's motions.

    Of SMPL-H's and SMPL-X's joints the body's 22 are taken. Where the frame rate is known, at most
    10 frames per second are looked at; those that differ from the last one kept by less than 5
    degrees, as a mean over the joints, are left out. In a `.pkl`, the up of the world is what the
    bodies stand along: y, z or, in the camera's frame, -y.

    Raises OSError if the file cannot be opened, and ValueError if it is damaged, asks for code or
    has poses of another layout.
    """
    of_amass = path.suffix.lower() == ".npz"
    values: Any = (
        read_npz(path, _ARRAYS, limit_bytes=_LARGEST_BYTES)
        if of_amass
        else read_data_pickle(path, limit_bytes=_LARGEST_BYTES)
    )
    with one_value_error(path, "cannot be read as a motion"):
        values = _plain(values)
        if not isinstance(values, Mapping):
            return []
        people = _people(values)
        motions = []
        for person, rows in enumerate(people):
            rotvecs = _joints(rows)[:: _stride(values)]
            to_y_up = _Z_UP if of_amass else _upright(rotvecs)
            rotvecs = within_half_a_turn(_turned(rotvecs, to_y_up))
            kept = thinned(rotvecs)
            motions.append(Motion(person if len(people) > 1 else None, rotvecs[kept]))
        return motions


def within_half_a_turn(rotvecs: Array) -> Array:
    """Rotation vectors (..., 3) of the same rotations, none longer than pi."""
    angles = np.linalg.norm(rotvecs, axis=-1, keepdims=True)
    turns = np.round(angles / (2 * np.pi))
    return rotvecs * (1 - 2 * np.pi * turns / np.where(turns > 0, angles, 1))


def thinned(rotvecs: Array) -> list[int]:
    """Indices of poses (F, 24, 3), in order: each differs enough from the one kept before it."""
    rotations = rotvec_to_matrix(rotvecs)
    kept, start = [0], 1
    while start < len(rotations):
        block = rotations[start : start + _BLOCK]
        # The trace of Aᵀ B, and from it the angle between both.
        trace = np.einsum("fjab,jab->fj", block, rotations[kept[-1]])
        change = np.arccos(((trace - 1) / 2).clip(-1, 1)).mean(1)
        enough = np.flatnonzero(change >= _LEAST_CHANGE)
        if len(enough):
            kept.append(start + int(enough[0]))
            start = kept[-1] + 1
        else:
            start += len(block)
    return kept


def _people(values: Mapping[Any, Any]) -> list[Array]:
    """Rows (F, 3 J) of rotation vectors, for every person."""
    for name in _WHOLE:
        if name in values:
            whole = _plain(values[name])
            arrays = whole if isinstance(whole, list | tuple) else [whole]
            if len(arrays) > _MOST_PERSONS:
                raise ValueError(f"{name} are of {len(arrays)} persons, at most {_MOST_PERSONS}")
            return [_rows(name, array) for array in arrays]
    for first, others in _SPLIT:
        if first in values and others in values:
            parts = [_rows(name, values[name]) for name in (first, others)]
            if len(parts[0]) != len(parts[1]):
                raise ValueError(
                    f"{first} is of {len(parts[0])} frames and {others} of {len(parts[1])}"
                )
            return [np.concatenate(parts, axis=1)]
    return []


def _rows(name: str, value: Any) -> Array:
    value = _plain(value)
    array = np.asarray(value) if isinstance(value, np.ndarray) else None
    if array is None or array.dtype.kind not in "iuf" or array.ndim < 2 or not array.size:
        found = brief(value) if array is None else f"{array.dtype} {array.shape}"
        raise ValueError(f"{name} is {found}, expected numbers (F, 72), a row for every frame")
    rows = array.astype(np.float64).reshape(len(array), -1)
    if not (np.abs(rows) < 1e4).all():
        raise ValueError(f"{name} has numbers that are no angles in radians")
    return rows


def _joints(rows: Array) -> Array:
    """Rotation vectors (F, 24, 3) from rows; hands and toes that the file lacks are straight."""
    count = _WIDTHS.get(rows.shape[1])
    if count is None:
        raise ValueError(
            f"a pose has {rows.shape[1]} numbers, expected 72 (SMPL), 156 (SMPL-H), 165 (SMPL-X) "
            "or 66 (the body alone), as rotation vectors"
        )
    joints = np.zeros((len(rows), _SMPL))
    joints[:, :count] = rows[:, :count]
    return joints.reshape(-1, JOINT_COUNT, 3)


def _stride(values: Mapping[Any, Any]) -> int:
    for name in _RATES:
        rate = np.asarray(_plain(values[name])) if name in values else np.zeros(0)
        if rate.size == 1 and rate.dtype.kind in "iuf" and 0 < float(rate.reshape(())) < 1e6:
            return max(1, math.floor(float(rate.reshape(())) / _HIGHEST_RATE))
    return 1


def _turned(rotvecs: Array, turn: Array) -> Array:
    rotations = torch.from_numpy(turn @ rotvec_to_matrix(rotvecs[:, 0]))
    return np.concatenate([rotmat_to_rotvec(rotations).numpy()[:, None], rotvecs[:, 1:]], axis=1)


def _upright(rotvecs: Array) -> Array:
    """Of the worlds that files are in, the one in which the bodies stand, as a mean over frames."""
    up = rotvec_to_matrix(rotvecs[:, 0])[:, :, 1].mean(0)
    return max(_WORLDS, key=lambda world: float((world @ up)[1]))


def _plain(value: Any) -> Any:
    """Dicts and arrays of the records that take the place of objects."""
    if isinstance(value, Ordered):
        return value.items
    if isinstance(value, JoblibArray) and value.objects is not None:
        raise ValueError("an array of objects, expected real numbers")
    return value.to_array() if isinstance(value, Record) else value
