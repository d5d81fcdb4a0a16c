"""Body files -> `Body`: our own `.npz`, SMPL's `.npz` and SMPL's `.pkl`. The only reader of them."""

import os
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dualhmr.body.model import JOINT_COUNT, Body
from dualhmr.body.restricted_pickle import read_smpl_pickle

FREE_BODY = "dualhmr-free-body"
BETA_COUNT = 10
_REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")


def load_body(path: str | os.PathLike[str] | None = None) -> Body:
    """Reads a body file; None is the free body that comes with the package.

    `.npz` and `.pkl` in SMPL's layout are understood; of more than 10 betas the first 10 are used.
    A `.pkl` is read as data: a file that asks to run anything is refused.

    Raises FileNotFoundError, or ValueError saying what in the file is damaged, missing or refused.
    """
    if path is None:
        with resources.as_file(resources.files("dualhmr") / "assets" / "free_body.npz") as packaged:
            return load_body(packaged)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no body file at {path}; SMPL has to be downloaded by its user")
    readers = {".npz": _read_npz, ".pkl": read_smpl_pickle}
    if path.suffix not in readers:
        raise ValueError(f"{path}: a body file ends in .npz or .pkl, not {path.suffix!r}")
    return _build(path, readers[path.suffix](path))


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise ValueError(
            f"{path}: damaged, truncated or not plain arrays ({error}); convert or download it again"
        ) from error


def _build(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> Body:
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise ValueError(f"{path}: not an SMPL body, it lacks {', '.join(missing)}")
    tensors = {name: _real(path, name, arrays[name]) for name in _REQUIRED[:5]}
    keypoints = arrays.get("keypoint_regressor")
    try:
        return Body(
            name=str(arrays["name"]) if "name" in arrays else path.stem,
            v_template=tensors["v_template"],
            shapedirs=tensors["shapedirs"][..., :BETA_COUNT].contiguous(),
            posedirs=tensors["posedirs"],
            joint_regressor=tensors["J_regressor"],
            weights=tensors["weights"],
            faces=torch.from_numpy(arrays["f"].astype(np.int64)),
            parents=_parents(arrays["kintree_table"]),
            keypoint_names=tuple(str(name) for name in arrays.get("keypoint_names", ())),
            keypoint_regressor=None
            if keypoints is None
            else _real(path, "keypoint_regressor", keypoints),
        )
    except (ValueError, IndexError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _real(path: Path, name: str, array: npt.NDArray[Any]) -> torch.Tensor:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name} holds {array.dtype}, expected real numbers")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _parents(kintree_table: npt.NDArray[Any]) -> tuple[int, ...]:
    """Row 0 holds parents; the root's is 2^32 - 1, in whichever integer type it was saved."""
    if kintree_table.shape != (2, JOINT_COUNT):
        raise ValueError(
            f"kintree_table has shape {kintree_table.shape}, expected (2, {JOINT_COUNT})"
        )
    return (-1, *(int(parent) for parent in kintree_table[0, 1:]))
