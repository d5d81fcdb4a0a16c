"""Which joints are compared on which data set, and how a mesh gets them.

Joints are regressed from the mesh by the 17 rows of `J_regressor_h36m.npy`, which users bring
along with SMPL (SPIN's data has it), and centred on row 0, the pelvis. Vertices are compared in the
bodies' own frame (`pve_mm`), and also centred there (`pve_centred_mm`). The picks of joints, their
centring, and `pve_mm` are those of SPIN and of the paper's release.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.keypoints import BODY_25, SPIN_24, KeypointSet
from dualhmr.untrusted import as_float32, read_npy

HUMAN36M_17 = (
    "pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
    "spine", "neck", "jaw", "head", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
"""The rows of the regressor, in SPIN's order."""
ROOT = 0
_LARGEST_REGRESSOR = 1 << 26  # bytes
_LIMBS_NECK_HEAD = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)


@dataclass(frozen=True)
class EvaluationProtocol:
    """The joints that count, as rows of the regressor and of annotated `S`."""

    counted: tuple[int, ...]
    """Rows of `HUMAN36M_17`."""
    annotated: tuple[int, ...] | None = None
    """The same joints as rows of `SPIN_24` where the truth is `S`; None where it is a mesh."""
    annotated_root: int = 14
    """The row of `SPIN_24` to centre `S` on."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the joints that count."""
        return tuple(HUMAN36M_17[row] for row in self.counted)


_FROM_MESH = EvaluationProtocol(_LIMBS_NECK_HEAD)
EVALUATION_PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    "human36m": _FROM_MESH,
    "threedpw": _FROM_MESH,
    "mpi_inf_3dhp": EvaluationProtocol(
        (*_LIMBS_NECK_HEAD, 0, 7, 9), annotated=(*range(13), 18, 14, 16, 17)
    ),
}
"""By the names of the data sets."""


def load_human36m_regressor(path: str | os.PathLike[str]) -> Tensor:
    """Reads `J_regressor_h36m.npy`: (17, V), V that of SMPL's mesh.

    Raises FileNotFoundError saying where it comes from, ValueError for another or a damaged file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no joint regressor at {path}; J_regressor_h36m.npy comes with the data of "
            "github.com/nkolot/SPIN"
        )
    array = read_npy(path, limit_bytes=_LARGEST_REGRESSOR)
    if array.dtype.kind != "f" or array.ndim != 2:
        raise ValueError(f"{path}: expected one array of real numbers, (17, vertices)")
    if len(array) != len(HUMAN36M_17):
        raise ValueError(f"{path}: {array.shape} numbers, expected 17 rows")
    return torch.from_numpy(as_float32(array, f"{path}: the array"))


def annotated_joints(joints_3d: Tensor, protocol: EvaluationProtocol) -> Tensor:
    """Annotated joints `S` (..., 24, 3) -> those that count (..., J, 3), centred on the pelvis.

    ValueError where the protocol compares meshes.
    """
    if protocol.annotated is None:
        raise ValueError("this protocol takes the truth from the mesh, not from S")
    return (
        joints_3d[..., list(protocol.annotated), :] - joints_3d[..., [protocol.annotated_root], :]
    )


# Choices of the command line. They are here, in a module that imports little, since every
# subcommand of `dualhmr` loads the choices of all.
SYNTHETIC = "synthetic"
DATA = (SYNTHETIC, *EVALUATION_PROTOCOLS)

KEYPOINTS: Mapping[str, tuple[KeypointSet, slice]] = {
    "annotated": (SPIN_24, slice(len(BODY_25), None)),
    "openpose": (BODY_25, slice(0, len(BODY_25))),
}
"""Which of the 49 keypoints of a licensed data set's sample are given."""
