"""SPIN's mean parameters: where the heads of the paper's networks begin."""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.networks import HeadOutput

_SHAPES = {"pose": (144,), "shape": (10,), "cam": (3,)}


@dataclass(frozen=True, eq=False)
class MeanParams:
    """An estimate to begin with, and the file that it is from."""

    start: HeadOutput
    """Of one person; 6D rotations as the heads read them, global orientation included."""
    sha256: str
    """Of the file, in hexadecimal."""


def read_mean_params(path: str | os.PathLike[str]) -> MeanParams:
    """Reads SPIN's `smpl_mean_params.npz`: `pose` (144,) in 6D, `shape` (10,) and `cam` (3,).

    Raises FileNotFoundError, or ValueError where the file is damaged or its arrays are not these.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no mean parameters at {path}; smpl_mean_params.npz comes with the data of "
            "github.com/nkolot/SPIN"
        )
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _SHAPES if name in archive}
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(
            f"{path}: damaged, or not an .npz of plain arrays ({error}); get it again"
        ) from error
    missing = [name for name in _SHAPES if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; SPIN's smpl_mean_params.npz has pose, shape, cam"
        )
    start = HeadOutput(*(_numbers(path, name, array) for name, array in arrays.items()))
    return MeanParams(start, hashlib.sha256(content).hexdigest())


def _numbers(path: Path, name: str, array: NDArray[Any]) -> Tensor:
    shape = _SHAPES[name]
    if array.dtype.kind != "f" or array.shape != shape:
        hint = "; rotations have to be in 6D, not axis-angle" if name == "pose" else ""
        raise ValueError(
            f"{path}: {name} is {array.dtype} {array.shape}, expected real numbers {shape}{hint}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name} has numbers that are not finite; get the file again")
    return torch.from_numpy(array.astype(np.float32))[None]
