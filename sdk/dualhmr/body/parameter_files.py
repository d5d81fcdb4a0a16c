"""Result files of other networks and motion files -> `SMPLParameters`; nothing in them is run.

A file holds frames, of which most files have one, and a frame holds persons. What is read:

- 4D-Humans and everything that names its output `global_orient`, `body_pose`, `betas`: an `.npz`,
  or a `.pkl` with a dict or a list of dicts; our own saved `Recovery`
- PHALP's and 4D-Humans' tracks: a joblib `.pkl` of frames by name, each with a list `smpl`
- ROMP and BEV: an `.npz` with `results`, of one image or of frames by name (`smpl_thetas`)
- AMASS: an `.npz` with `poses` (F, 156 | 165 | 72) and `betas`
- SPIN's layout: `pose` (N, 72) and `shape` (N, 10), and HMR's rows (P, 85), in an `.npy`
"""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dualhmr.body.data_pickle import JoblibArray, Ordered, load_data, read_data_pickle
from dualhmr.body.parameter_arrays import (
    MOST_PERSONS,
    PAIRS,
    SPLIT,
    bodies_of_arrays,
    bodies_of_rows,
    number_array,
)
from dualhmr.body.parameters import SMPLParameters
from dualhmr.body.smpl_pickle import Array, Record
from dualhmr.keypoints.records import find_image
from dualhmr.untrusted import brief, check_size, one_value_error, read_npy, read_npz

_LARGEST_BYTES = 1 << 30
"""Of arrays, and of a decompressed pickle: PHALP's tracks of a few minutes."""
_LISTS = ("pred_smpl_params", "smpl")
"""Persons, in 4D-Humans' output and in PHALP's frames."""
_PLAIN = tuple(dict.fromkeys((*SPLIT, *(name for pair in PAIRS for name in pair))))
_OBJECTS = ("results", *_LISTS, "arr_0")
"""Members of an `.npz` that may hold Python objects."""
_EXPECTED = "no bodies: expected global_orient, body_pose and betas, or poses and betas"


class _Frame(NamedTuple):
    name: str | None
    read: Callable[[], Any]


def read_smpl_parameters(
    path: str | os.PathLike[str], *, frame: int | str | None = None, person: int | None = None
) -> list[SMPLParameters]:
    """The bodies of a file's persons, in the file's order, with at most 10 betas.

    Of poses of SMPL-H and SMPL-X the 22 joints of the body are taken and the hands are straight;
    SMPL-X's betas are of another shape space, so they are 0. Bodies are in the frame of the file:
    that of the camera for networks, but a world of its own for AMASS (`SMPLParameters.turned`).

    Args:
        path: An `.npz`, `.npy` or `.pkl` file.
        frame: The number of a frame from 0, or its name, an image's: for files of several frames.
        person: The number of one person from 0; None: all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, asks for code, holds no bodies, or not that frame or person.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of SMPL parameters at {path}")
    content = _content(path)
    with one_value_error(path, "cannot be read as SMPL parameters"):
        frames = _frames(content)
        bodies = _bodies(frames[_choose(frame, frames)].read())
        if person is None:
            return bodies
        if not 0 <= person < len(bodies):
            raise ValueError(f"person {person} is asked for, it has {len(bodies)}, counted from 0")
        return [bodies[person]]


# What files hold: dicts, lists and arrays


def _content(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle", ".joblib"):
        return read_data_pickle(path, limit_bytes=_LARGEST_BYTES)
    if suffix == ".npz":
        arrays = read_npz(path, _PLAIN, limit_bytes=_LARGEST_BYTES)
        return arrays or _objects_of_npz(path)
    if suffix == ".npy":
        with path.open("rb") as file, one_value_error(path, "damaged, or not of NumPy"):
            check_size(os.fstat(file.fileno()).st_size, _LARGEST_BYTES)
            objects = _objects(file.read(_LARGEST_BYTES))
        return read_npy(path, limit_bytes=_LARGEST_BYTES) if objects is None else objects
    raise ValueError(f"{path}: SMPL parameters are read from .npz, .npy and .pkl, not {suffix!r}")


def _objects_of_npz(path: Path) -> Any:
    """Of arrays of Python objects, such as ROMP's `results`, the first that is there."""
    with path.open("rb") as file, one_value_error(path, "damaged, or not of NumPy"):
        archive = zipfile.ZipFile(file)
        there = set(archive.namelist())
        for name in _OBJECTS:
            if f"{name}.npy" not in there:
                continue
            member = archive.getinfo(f"{name}.npy")
            check_size(member.file_size, _LARGEST_BYTES)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that NumPy does not use")
            with archive.open(member) as content:
                objects = _objects(content.read(_LARGEST_BYTES))
            if objects is not None:
                return objects
        raise ValueError(
            f"it has neither of {', '.join((*_PLAIN, *_OBJECTS))}, but {brief(sorted(there))}"
        )


def _objects(npy: bytes) -> Any:
    """The elements of an `.npy` of Python objects, or its only one; None for numbers."""
    file = io.BytesIO(npy)
    version = np.lib.format.read_magic(file)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    if not dtype.hasobject:
        return None
    elements = _elements(load_data(file.read()))
    if not elements:
        raise ValueError("an array of no objects")
    return elements if shape else elements[0]


def _elements(value: Any) -> list[Any]:
    """Of an array of Python objects, as pickles have it."""
    state = value.state if isinstance(value, Array) else None
    if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list)):
        raise ValueError("an array without its objects")
    elements: list[Any] = state[4]
    return elements


# Frames and their persons


def _frames(content: Any) -> list[_Frame]:
    content = _plain(content)
    if not isinstance(content, dict) or _has_bodies(content):
        poses = content.get("poses") if isinstance(content, dict) else None
        if isinstance(poses, np.ndarray) and poses.ndim == 2 and len(poses) > 1:
            return [_Frame(None, partial(_row, content, row)) for row in range(len(poses))]
        return [_Frame(None, lambda: content)]
    # Of PHALP's and ROMP's videos: by name.
    frames = [
        _Frame(str(name), partial(_plain, value))
        for name, value in content.items()
        if isinstance(value, dict | list | Ordered | Array)
    ]
    if not frames:
        raise ValueError(f"{_EXPECTED}, found {brief(list(content)[:20])}")
    return frames


def _choose(frame: int | str | None, frames: list[_Frame]) -> int:
    count = len(frames)
    if frame is None:
        if count == 1:
            return 0
        names = [each.name for each in frames[:2] if each.name is not None]
        named = f" or its name ({', '.join(map(brief, names))}, ...)" if names else ""
        raise ValueError(f"it holds {count} frames; choose one by its number from 0{named}")
    if isinstance(frame, str):
        return find_image(frame, [each.name for each in frames])
    if not 0 <= frame < count:
        raise ValueError(f"frame {frame} is asked for, it has {count}, counted from 0")
    return frame


def _bodies(frame: Any) -> list[SMPLParameters]:
    """Of all persons in dicts, lists of dicts, or HMR's rows; persons in order."""
    bodies: list[SMPLParameters] = []
    waiting, visited = [frame], 0
    while waiting:
        value, visited = _plain(waiting.pop()), visited + 1
        if isinstance(value, list | tuple) and len(waiting) + len(value) <= MOST_PERSONS:
            waiting.extend(reversed(value))
        elif isinstance(value, np.ndarray):
            bodies += bodies_of_rows(value)
        elif isinstance(value, dict) and _has_bodies(value):
            inner = next((name for name in _LISTS if name in value), None)
            if inner is None:
                arrays = {name: _plain(value[name]) for name in _PLAIN if name in value}
                bodies += bodies_of_arrays(arrays)
            else:
                waiting.append(value[inner])
        else:
            found = list(value)[:20] if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"{_EXPECTED}, found {brief(found)}")
        if max(len(bodies), visited) > MOST_PERSONS:
            raise ValueError(f"more than {MOST_PERSONS} persons in a frame")
    return bodies


def _has_bodies(value: Mapping[Any, Any]) -> bool:
    known = (*((name,) for name in _LISTS), SPLIT, *PAIRS)
    return any(all(name in value for name in names) for names in known)


def _plain(value: Any) -> Any:
    """Dicts, lists and arrays of the records that take the place of objects."""
    if isinstance(value, Ordered):
        return value.items
    if isinstance(value, JoblibArray) and value.objects is not None:
        value = value.objects
    if isinstance(value, Array) and isinstance(value.state[-1], list):
        elements = _elements(value)
        return elements if value.state[1] else elements[0]
    return value.to_array() if isinstance(value, Record) else value


def _row(values: Mapping[str, Any], row: int) -> dict[str, Any]:
    """One frame of AMASS's: betas are of all frames, or of each."""
    betas = number_array(values, "betas")
    return {"poses": values["poses"][row], "betas": betas[row] if betas.ndim == 2 else betas}
