"""Arrays of AMASS-style `.npz` files, and of Meshcapade's `.smpl`."""

import os
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.body.files import FREE_BODY
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion.quaternions import matrix_to_rotvec
from dualhmr.untrusted import one_value_error, read_npz

Layout = Literal["smpl", "smplh"]
Arrays = dict[str, npt.NDArray[Any]]

CAMERA_TO_Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""From the camera's frame to AMASS's: x right, y away from the camera, z up."""
_BODY_JOINTS = 22
"""Those that SMPL and SMPL-H share; SMPL-H has 30 of the fingers more, SMPL one of each hand."""
_JOINTS = {"smpl": JOINT_COUNT, "smplh": 52}
_WIDTHS = (72, 156, 165)
_RATES = ("mocap_framerate", "mocap_frame_rate")
_CAMERA = ("frames", "focal_length", "principal_point", "confidence")
_LARGEST_BYTES = 1 << 30


def amass_arrays(
    rotations: npt.ArrayLike,
    translation: npt.NDArray[Any],
    betas: npt.NDArray[Any],
    *,
    fps: float,
    body: str,
    layout: Layout,
) -> Arrays:
    """Of rotations (T, 24, 3, 3) and translations (T, 3) in a z-up world, and betas (B,).

    `poses` are axis-angle (T, 72), or (T, 156) with straight fingers; `body` names the body that
    the betas are of.

    Raises ValueError for another layout.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {layout!r}")
    rotvecs = matrix_to_rotvec(rotations)
    poses = np.zeros((len(rotvecs), _JOINTS[layout], 3))
    kept = JOINT_COUNT if layout == "smpl" else _BODY_JOINTS
    poses[:, :kept] = rotvecs[:, :kept]
    return {
        "poses": poses.reshape(len(poses), -1),
        "trans": translation.astype(np.float64),
        "betas": betas.astype(np.float64),
        "mocap_framerate": np.array(float(fps)),
        "gender": np.array("neutral"),
        "surface_model_type": np.array(layout),
        "body": np.array(body),
    }


def smpl_codec_arrays(
    rotations: npt.ArrayLike,
    translation: npt.NDArray[Any],
    betas: npt.NDArray[Any],
    *,
    fps: float,
    body: str,
) -> Arrays:
    """Version 2 of the codec, an `.npz` inside: as `amass_arrays`, but y-up.

    Raises ValueError for the free body: the format says that betas are SMPL's.
    """
    if body == FREE_BODY:
        raise ValueError(
            ".smpl means SMPL's betas, and this motion is of the free body: save .npz, .glb or "
            ".bvh, or recover with SMPL's body and networks"
        )
    poses = matrix_to_rotvec(rotations).astype(np.float32)
    return {
        "codecVersion": np.array(2),
        "smplVersion": np.array(0),
        "gender": np.array(0),
        "shapeParameters": betas,
        "frameCount": np.array(len(poses)),
        "frameRate": np.array(float(fps)),
        "bodyTranslation": translation,
        "bodyPose": poses,
    }


def read_amass(path: str | os.PathLike[str], *, beta_count: int, free_body: bool) -> Arrays:
    """The arrays of a `Motion` in a z-up world, by name: of our own file or another's.

    Of SMPL-H and SMPL-X the 22 joints of the body are taken. Raises FileNotFoundError; ValueError
    for a damaged file, other arrays, or betas of the other kind of body.
    """
    path = Path(path)
    names = ("poses", "trans", "betas", "body", *_RATES, *_CAMERA)
    arrays = read_npz(path, names, limit_bytes=_LARGEST_BYTES)
    with one_value_error(path, "cannot be read as a motion"):
        missing = {"poses", "trans", "betas"} - set(arrays)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        name = str(arrays.get("body", "SMPL"))
        if (name == FREE_BODY) != free_body:
            raise ValueError(f"its betas are of the body {name!r}: pass body=, a file of that body")
        read = {key: arrays[key] for key in _CAMERA if key in arrays}
        for rate in (arrays[rate] for rate in _RATES if rate in arrays):
            read["fps"] = rate.reshape(())
        read["rotations"] = _rotations(arrays["poses"])
        read["betas"] = _betas(arrays["betas"], beta_count)
        read["translation"] = arrays["trans"]
        return read


def _rotations(poses: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if poses.ndim != 2 or poses.shape[1] not in _WIDTHS or poses.dtype.kind != "f":
        raise ValueError(f"poses are {poses.dtype} {poses.shape}, expected (T, 72), 156 or 165")
    count = JOINT_COUNT if poses.shape[1] == 3 * JOINT_COUNT else _BODY_JOINTS
    rotvecs = np.zeros((len(poses), JOINT_COUNT, 3))
    rotvecs[:, :count] = poses[:, : 3 * count].reshape(len(poses), count, 3)
    return rotvec_to_matrix(rotvecs)


def _betas(betas: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    if betas.ndim != 1 or betas.dtype.kind != "f":
        raise ValueError(f"betas are {betas.dtype} {betas.shape}, expected (B,)")
    return np.concatenate([betas[:count], np.zeros(max(0, count - len(betas)))])
