"""Body files -> `BodyArrays`: our own `.npz`, and SMPL's `.npz` and `.pkl`."""

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import EXTRA_JOINT_NAMES, JOINT_COUNT, BodyArrays, BodyParts
from dualhmr.body.smpl_pickle import read_smpl_pickle
from dualhmr.untrusted import as_float32, read_npy, read_npz

FREE_BODY = "dualhmr-free-body"
BETA_COUNT = 10
_FLOATS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
_INTEGERS = ("kintree_table", "f")
_ARRAYS = _FLOATS + _INTEGERS
_OPTIONAL = ("name", "keypoint_names", "keypoint_regressor", "J_regressor_extra")
_LARGEST_REGRESSOR = 1 << 26  # bytes
_LONGEST_NAME = 200
_LARGEST_BYTES = 1 << 29
"""Of all arrays. All of SMPL with 300 betas, in double precision, has 90 MB."""
ExtraJoints: TypeAlias = str | os.PathLike[str] | npt.NDArray[Any]
"""SPIN's `J_regressor_extra.npy`, or its array (9, V)."""
_OTHER_BODIES = {55: "SMPL-X", 52: "SMPL-H", 16: "MANO", 5: "FLAME", 33: "SMAL", 75: "SUPR"}
"""Models that are stored in SMPL's layout, by their number of joints."""


def read_body(
    path: str | os.PathLike[str] | None = None, *, extra_joints: ExtraJoints | None = None
) -> BodyArrays:
    """Reads a body file; None is the free body in the package.

    Reads `.npz` and `.pkl` files in SMPL's layout. Of more than 10 betas the first 10 are used.
    A `.pkl` is read as data: a file that would run code is refused. `extra_joints` is SPIN's
    `J_regressor_extra.npy` or its array (9, V), by default what a `.npz` holds by that name: the
    joints `EXTRA_JOINT_NAMES`.

    Raises FileNotFoundError, or ValueError that says what is damaged, missing or refused.
    """
    if path is None:
        with resources.as_file(resources.files("dualhmr") / "assets" / "free_body.npz") as packaged:
            return read_body(packaged, extra_joints=extra_joints)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no body file at {path}; SMPL has to be downloaded by its user")
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, _ARRAYS + _OPTIONAL, limit_bytes=_LARGEST_BYTES)
    elif path.suffix.lower() == ".pkl":
        arrays = read_smpl_pickle(path, _ARRAYS, limit_bytes=_LARGEST_BYTES)
    else:
        raise ValueError(f"{path}: a body file ends in .npz or .pkl, not {path.suffix!r}")
    body = _build(path, arrays)
    return body if extra_joints is None else with_extra_joints(body, extra_joints)


def _build(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> BodyArrays:
    _check_model(path, arrays)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: not an SMPL body, it lacks {', '.join(missing)}")
    floats = {name: _float32(path, name, arrays[name]) for name in _FLOATS}
    integers = {name: _int64(path, name, arrays[name]) for name in _INTEGERS}
    regressors = {
        name: _float32(path, name, arrays[name]) if name in arrays else None
        for name in ("keypoint_regressor", "J_regressor_extra")
    }
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
            keypoint_regressor=regressors["keypoint_regressor"],
            extra_joints=regressors["J_regressor_extra"],
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


def read_extra_joints(extra_joints: ExtraJoints) -> npt.NDArray[np.float32]:
    """SPIN's `J_regressor_extra.npy`, a path or its array: (9, V), rows over the posed vertices.

    Raises FileNotFoundError, or ValueError for another shape or a damaged file.
    """
    if isinstance(extra_joints, np.ndarray):
        return _checked_extra_joints(extra_joints, "extra_joints")
    path = Path(extra_joints)
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of extra joints at {path}; J_regressor_extra.npy comes with SPIN's data"
        )
    return _checked_extra_joints(read_npy(path, limit_bytes=_LARGEST_REGRESSOR), str(path))


def _checked_extra_joints(rows: npt.NDArray[Any], source: str) -> npt.NDArray[np.float32]:
    if rows.ndim != 2 or len(rows) != len(EXTRA_JOINT_NAMES) or rows.dtype.kind != "f":
        raise ValueError(
            f"{source} holds {rows.dtype} {rows.shape}, expected real numbers "
            f"({len(EXTRA_JOINT_NAMES)}, V)"
        )
    return as_float32(rows, f"{source}: the array")


def with_extra_joints(body: BodyArrays, extra_joints: ExtraJoints) -> BodyArrays:
    """`body` with the joints of SPIN's `J_regressor_extra.npy`, a path or its array (9, V).

    Raises ValueError where they are of another body, and what `read_extra_joints` raises.
    """
    return replace(body, extra_joints=read_extra_joints(extra_joints))


def matching_arrays(
    body: str | os.PathLike[str] | BodyArrays | None,
    *,
    needed: str,
    networks: str,
    extra_joints: ExtraJoints | None = None,
) -> BodyArrays:
    """The body for networks that were trained on the body named `needed`.

    `body` is read if it is a path; None is the free body. `networks` names the networks in errors.
    `extra_joints` is as of `read_body`.

    Raises ValueError for a body of the other kind (free or licensed), or if the networks need a
    licensed body and `body` is None, and what `read_body` raises.
    """
    if body is None:
        if needed != FREE_BODY:
            raise ValueError(
                f"{networks} was trained on body {needed!r}, which does not come with dualhmr; "
                "pass the file you downloaded as body=... (--body)"
            )
        return read_body(extra_joints=extra_joints)
    arrays = body if isinstance(body, BodyArrays) else read_body(Path(body))
    check_matching(arrays, needed=needed, networks=networks)
    return arrays if extra_joints is None else with_extra_joints(arrays, extra_joints)


def check_matching(body: BodyParts[Any], *, needed: str, networks: str) -> None:
    """Raises ValueError unless `body` is of the kind, free or licensed, that `networks` need."""
    if (needed == FREE_BODY) != (body.name == FREE_BODY):
        raise ValueError(
            f"{networks} was trained on body {needed!r}; its betas mean nothing on body "
            f"{body.name!r}"
        )
