"""Body files -> `BodyArrays`: our own `.npz`, SMPL's `.npz` and `.pkl`. The only reader of them."""

import os
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT, BodyArrays, BodyParts
from dualhmr.body.smpl_pickle import read_smpl_pickle

FREE_BODY = "dualhmr-free-body"
BETA_COUNT = 10
_REAL = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
_WHOLE = ("kintree_table", "f")
_OWN = ("name", "keypoint_names", "keypoint_regressor")
_LARGEST_BYTES = 1 << 30
"""SMPL with 300 betas, all in double precision, has 90 MB."""


def read_body(path: str | os.PathLike[str] | None = None) -> BodyArrays:
    """Reads a body file; None is the free body that comes with the package.

    `.npz` and `.pkl` in SMPL's layout are understood; of more than 10 betas the first 10 are used.
    A `.pkl` is read as data: a file that asks to run anything is refused.

    Raises FileNotFoundError, or ValueError saying what in the file is damaged, missing or refused.
    """
    if path is None:
        with resources.as_file(resources.files("dualhmr") / "assets" / "free_body.npz") as packaged:
            return read_body(packaged)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no body file at {path}; SMPL has to be downloaded by its user")
    if path.suffix.lower() == ".npz":
        return _build(path, _read_npz(path))
    if path.suffix.lower() == ".pkl":
        return _build(path, read_smpl_pickle(path, _REAL + _WHOLE))
    raise ValueError(f"{path}: a body file ends in .npz or .pkl, not {path.suffix!r}")


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for name in _REAL + _WHOLE + _OWN:
                if f"{name}.npy" in archive.namelist():
                    arrays[name] = _read_npy(archive, f"{name}.npy")
            return arrays
    except PermissionError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(
            f"{path}: damaged, truncated or not plain arrays ({error}); convert it or download it "
            "again"
        ) from error


def _read_npy(archive: zipfile.ZipFile, member: str) -> npt.NDArray[Any]:
    size = archive.getinfo(member).file_size
    if size > _LARGEST_BYTES:
        raise ValueError(f"{member} has {size} bytes, too many for a body")
    with archive.open(member) as file:
        try:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        except ValueError as error:
            raise ValueError(f"{member}: {error}") from error


def _build(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> BodyArrays:
    missing = [name for name in _REAL + _WHOLE if name not in arrays]
    if missing:
        raise ValueError(f"{path}: not an SMPL body, it lacks {', '.join(missing)}")
    real = {name: _real(path, name, arrays[name]) for name in _REAL}
    whole = {name: _whole(path, name, arrays[name]) for name in _WHOLE}
    keypoints = arrays.get("keypoint_regressor")
    try:
        return BodyArrays(
            name=str(arrays["name"]) if "name" in arrays else path.stem,
            v_template=real["v_template"],
            shapedirs=np.ascontiguousarray(real["shapedirs"][..., :BETA_COUNT]),
            posedirs=real["posedirs"],
            joint_regressor=real["J_regressor"],
            weights=real["weights"],
            faces=whole["f"],
            parents=_parents(whole["kintree_table"]),
            keypoint_names=tuple(str(name) for name in arrays.get("keypoint_names", ())),
            keypoint_regressor=None
            if keypoints is None
            else _real(path, "keypoint_regressor", keypoints),
        )
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _real(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name} holds {array.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinite: refused later
        return np.array(array, dtype=np.float32, order="C")


def _whole(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise ValueError(f"{path}: {name} holds {array.dtype}, expected integers")
    return array.astype(np.int64)


def _parents(kintree_table: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Row 0 holds parents; the root's is 2^32 - 1, in whichever integer type it was saved."""
    if kintree_table.shape != (2, JOINT_COUNT):
        raise ValueError(
            f"kintree_table has shape {kintree_table.shape}, expected (2, {JOINT_COUNT})"
        )
    return (-1, *(int(parent) for parent in kintree_table[0, 1:]))


def matching_arrays(
    body: str | os.PathLike[str] | BodyArrays | None, *, needed: str, networks: str
) -> BodyArrays:
    """`body`, read if it is a file, or the free body for None; for networks trained on `needed`.

    `networks` names them in errors. Raises ValueError for a body that is not of their kind, free or
    licensed, or for a licensed one that is not given; and what `read_body` does.
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
    """Raises ValueError unless `body` is of the kind that `networks` were trained on."""
    if (needed == FREE_BODY) != (body.name == FREE_BODY):
        raise ValueError(
            f"{networks} was trained on body {needed!r}; its betas mean nothing on body "
            f"{body.name!r}"
        )
