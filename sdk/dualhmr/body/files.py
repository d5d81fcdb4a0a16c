"""Body files -> `BodyArrays`: our own `.npz`, and SMPL's `.npz` and `.pkl`."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT, BodyArrays, BodyParts
from dualhmr.body.smpl_pickle import read_smpl_pickle
from dualhmr.untrusted import read_npz

FREE_BODY = "dualhmr-free-body"
BETA_COUNT = 10
_FLOATS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
_INTEGERS = ("kintree_table", "f")
_ARRAYS = _FLOATS + _INTEGERS
_OPTIONAL = ("name", "keypoint_names", "keypoint_regressor")
"""Only in our own files."""
_LONGEST_NAME = 200
_LARGEST_BYTES = 1 << 29
"""Of all arrays. All of SMPL with 300 betas, in double precision, has 90 MB."""
_OTHER_BODIES = {55: "SMPL-X", 52: "SMPL-H", 16: "MANO", 5: "FLAME", 33: "SMAL", 75: "SUPR"}
"""Models that are stored in SMPL's layout, by their number of joints."""


def read_body(path: str | os.PathLike[str] | None = None) -> BodyArrays:
    """Reads a body file; None is the free body in the package.

    Reads `.npz` and `.pkl` files in SMPL's layout. Of more than 10 betas the first 10 are used.
    A `.pkl` is read as data: a file that would run code is refused.

    Raises FileNotFoundError, or ValueError that says what is damaged, missing or refused.
    """
    if path is None:
        with resources.as_file(resources.files("dualhmr") / "assets" / "free_body.npz") as packaged:
            return read_body(packaged)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no body file at {path}; SMPL has to be downloaded by its user")
    if path.suffix.lower() == ".npz":
        return _build(path, read_npz(path, _ARRAYS + _OPTIONAL, limit_bytes=_LARGEST_BYTES))
    if path.suffix.lower() == ".pkl":
        return _build(path, read_smpl_pickle(path, _ARRAYS, limit_bytes=_LARGEST_BYTES))
    raise ValueError(f"{path}: a body file ends in .npz or .pkl, not {path.suffix!r}")


def _build(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> BodyArrays:
    _check_model(path, arrays)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: not an SMPL body, it lacks {', '.join(missing)}")
    floats = {name: _float32(path, name, arrays[name]) for name in _FLOATS}
    integers = {name: _int64(path, name, arrays[name]) for name in _INTEGERS}
    keypoints = arrays.get("keypoint_regressor")
    try:
        return BodyArrays(
            name=_name(arrays["name"]) if "name" in arrays else path.stem,
            v_template=floats["v_template"],
            shapedirs=np.ascontiguousarray(floats["shapedirs"][..., :BETA_COUNT]),
            posedirs=floats["posedirs"],
            joint_regressor=floats["J_regressor"],
            weights=floats["weights"],
            faces=integers["f"],
            parents=_parents(integers["kintree_table"]),
            keypoint_names=tuple(str(name) for name in arrays.get("keypoint_names", ())),
            keypoint_regressor=None
            if keypoints is None
            else _float32(path, "keypoint_regressor", keypoints),
        )
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _check_model(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """ValueError for another model than SMPL, which its layout would fit."""
    for name, rows in (("kintree_table", 2), ("weights", None)):
        shape = arrays[name].shape if name in arrays else ()
        if len(shape) == 2 and shape[0] == (rows or shape[0]) and shape[1] in _OTHER_BODIES:
            model = f"{_OTHER_BODIES[shape[1]]} ({shape[1]} joints)"
            break
    else:
        directions = arrays["posedirs"].shape if "posedirs" in arrays else ()
        if directions[-1:] != (93,):
            return
        model = "STAR"
    raise ValueError(
        f"{path}: this is {model}; SMPL is needed: SMPL_NEUTRAL.pkl from smpl.is.tue.mpg.de"
    )


def _name(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind != "U" or array.size != 1 or len(array.item()) > _LONGEST_NAME:
        raise ValueError(f"name is not one text of at most {_LONGEST_NAME} characters")
    return str(array.item())


def _float32(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name} holds {array.dtype}, expected real numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # `BodyParts` refuses infinities
        return np.array(array, dtype=np.float32, order="C")


def _int64(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise ValueError(f"{path}: {name} holds {array.dtype}, expected integers")
    return array.astype(np.int64)


def _parents(kintree_table: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Row 0 holds the parents; files write the root's -1 as 2^32 - 1."""
    if kintree_table.shape != (2, JOINT_COUNT):
        raise ValueError(
            f"kintree_table has shape {kintree_table.shape}, expected (2, {JOINT_COUNT})"
        )
    return (-1, *(int(parent) for parent in kintree_table[0, 1:]))


def matching_arrays(
    body: str | os.PathLike[str] | BodyArrays | None, *, needed: str, networks: str
) -> BodyArrays:
    """The body for networks that were trained on the body named `needed`.

    `body` is read if it is a path; None is the free body. `networks` names the networks in errors.

    Raises ValueError for a body of the other kind (free or licensed), or if the networks need a
    licensed body and `body` is None, and what `read_body` raises.
    """
    if body is None:
        if needed != FREE_BODY:
            raise ValueError(
                f"{networks} was trained on body {needed!r}, which does not come with dualhmr; "
                "pass the file you downloaded as body=... (--body)"
            )
        return read_body()
    arrays = body if isinstance(body, BodyArrays) else read_body(Path(body))
    check_matching(arrays, needed=needed, networks=networks)
    return arrays


def check_matching(body: BodyParts[Any], *, needed: str, networks: str) -> None:
    """Raises ValueError unless `body` is of the kind, free or licensed, that `networks` need."""
    if (needed == FREE_BODY) != (body.name == FREE_BODY):
        raise ValueError(
            f"{networks} was trained on body {needed!r}; its betas mean nothing on body "
            f"{body.name!r}"
        )
