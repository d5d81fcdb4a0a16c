"""The 49 joints of SPIN and of the Meta-HMR release, on a body, and the losses on them."""

import os
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.body.points import PointRegressor, keypoint_regressor
from dualhmr.camera import CROP_SIZE, CropSize
from dualhmr.keypoints import BODY_25, COCO_17, SPIN_24
from dualhmr.objective.objective import Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.untrusted import as_float32, read_npy

EXTRA_JOINTS = (
    "right_hip_lsp",
    "left_hip_lsp",
    "neck_lsp",
    "head_top",
    "pelvis_mpii",
    "thorax_mpii",
    "spine_h36m",
    "jaw_h36m",
    "head_h36m",
)
"""The rows of SPIN's `J_regressor_extra.npy`."""
_LARGEST_REGRESSOR = 1 << 26  # bytes
SPIN_HIPS = (SPIN_24.index("right_hip_lsp"), SPIN_24.index("left_hip_lsp"))


def read_extra_joints(path: str | os.PathLike[str]) -> Tensor:
    """SPIN's `J_regressor_extra.npy`: (9, V), rows over the posed vertices.

    Raises FileNotFoundError, or ValueError for another shape or a damaged file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of extra joints at {path}; J_regressor_extra.npy comes with SPIN's data"
        )
    rows = read_npy(path, limit_bytes=_LARGEST_REGRESSOR)
    if rows.ndim != 2 or len(rows) != len(EXTRA_JOINTS) or rows.dtype.kind != "f":
        raise ValueError(
            f"{path} holds {rows.dtype} {rows.shape}, expected real numbers "
            f"({len(EXTRA_JOINTS)}, V)"
        )
    return torch.from_numpy(as_float32(rows, f"{path}: the array"))


def spin_24_regressor(body: Body, extra_joints: Tensor | None) -> PointRegressor:
    """The 24 points that data sets annotate, on `body`.

    Without `extra_joints` (9, V) there are 17 of them: LSP's hips are then the body's own hips, and
    the other seven are missing. Raises ValueError where the extra joints are of another body.
    """
    regressor = keypoint_regressor(body, SPIN_24)
    if extra_joints is None:
        return _with_own_hips(body, regressor)
    if extra_joints.shape != (len(EXTRA_JOINTS), body.vertex_count):
        raise ValueError(
            f"the extra joints are {tuple(extra_joints.shape)}, but body {body.name!r} has "
            f"{body.vertex_count} vertices"
        )
    vertex_rows = regressor.vertex_rows.clone()
    for name, row in zip(EXTRA_JOINTS, extra_joints, strict=True):
        vertex_rows[SPIN_24.index(name)] = row
    return PointRegressor(regressor.names, regressor.joint_rows, vertex_rows)


def _with_own_hips(body: Body, regressor: PointRegressor) -> PointRegressor:
    own = keypoint_regressor(body, COCO_17)
    joint_rows, vertex_rows = regressor.joint_rows.clone(), regressor.vertex_rows.clone()
    for side in ("right", "left"):
        row, source = SPIN_24.index(f"{side}_hip_lsp"), COCO_17.index(f"{side}_hip")
        joint_rows[row], vertex_rows[row] = own.joint_rows[source], own.vertex_rows[source]
    return PointRegressor(regressor.names, joint_rows, vertex_rows)


def spin_49_regressor(body: Body, extra_joints: Tensor | None) -> PointRegressor:
    """OpenPose's 25 points, then those 24."""
    return keypoint_regressor(body, BODY_25) + spin_24_regressor(body, extra_joints)


def spin_objective(
    body: Body,
    extra_joints: Tensor | None,
    *,
    camera: str,
    weights: LossWeights,
    keypoints: PointRegressor | None = None,
    crop_size: CropSize = CROP_SIZE,
) -> Objective:
    """The release's objective: 49 keypoints in 2D, the 24 annotated joints in 3D.

    Evidence holds the points `keypoints`, or all 49 if left out. Raises ValueError for an unknown
    camera convention, and as `spin_24_regressor` does.
    """
    return Objective(
        body,
        keypoints=keypoints or spin_49_regressor(body, extra_joints),
        keypoint_count=len(BODY_25) + len(SPIN_24),
        camera=camera,
        weights=weights,
        joints=spin_24_regressor(body, extra_joints),
        root=SPIN_HIPS,
        crop_size=crop_size,
    )
