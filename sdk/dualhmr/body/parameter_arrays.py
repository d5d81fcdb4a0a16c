"""Arrays of poses and betas, in the layouts of networks and data sets -> `SMPLParameters`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.body.parameters import SMPLParameters, rotvec_to_matrix
from dualhmr.untrusted import brief

MOST_PERSONS = 10_000
"""In a frame: data sets have rows instead."""
_BETAS = 10
_BODY_JOINTS = 22
"""Those that SMPL, SMPL-H and SMPL-X share; fingers and face follow."""
_BODY_POSES = ((JOINT_COUNT - 1,), (_BODY_JOINTS - 1,))
_SMPL_X = 3 * 55
_POSES = (3 * JOINT_COUNT, 3 * 52, _SMPL_X)
SPLIT = ("global_orient", "body_pose", "betas")
"""Names of the orientation, of the other joints, and of the shape."""
PAIRS = (("smpl_thetas", "smpl_betas"), ("poses", "betas"), ("pose", "betas"), ("pose", "shape"))
"""Names of pose and betas."""


def bodies_of_arrays(values: Mapping[str, Any]) -> list[SMPLParameters]:
    """From the arrays of `SPLIT`, or of one of `PAIRS`. Raises ValueError for other shapes."""
    if "global_orient" in values:
        pose = _joint_rotations(number_array(values, "body_pose"))
        first = number_array(values, "global_orient")
        persons = len(pose)
        if first.size == 9 * persons:
            first = first.reshape(persons, 1, 3, 3)
        elif first.size == 3 * persons:
            first = rotvec_to_matrix(first.reshape(persons, 1, 3))
        else:
            raise ValueError(
                f"global_orient has the shape {first.shape}, and body_pose is of {persons} persons"
            )
        return _built(np.concatenate([first, pose], axis=1), number_array(values, "betas"))
    pose_name, shape_name = next(pair for pair in PAIRS if all(name in values for name in pair))
    pose, betas = number_array(values, pose_name), number_array(values, shape_name)
    if pose.shape[-1] not in _POSES or pose.ndim > 2:
        raise ValueError(
            f"{pose_name} has the shape {pose.shape}, expected rows of 72 numbers (SMPL), 156 "
            "(SMPL-H) or 165 (SMPL-X)"
        )
    if pose.shape[-1] == _SMPL_X:
        betas = np.zeros(_BETAS)
    return _built(_of_vectors(pose), betas)


def bodies_of_rows(rows: npt.NDArray[Any]) -> list[SMPLParameters]:
    """HMR's (P, 85): camera, pose, betas; or (P, 82) without the camera."""
    values = number_array({"array": rows}, "array")
    if values.ndim > 2 or values.shape[-1] not in (82, 85):
        raise ValueError(
            f"an array of shape {values.shape}, expected rows of 72 and 10 numbers, pose and betas"
        )
    values = np.atleast_2d(values)[:, -82:]
    return _built(_of_vectors(values[:, :72]), values[:, 72:])


def _of_vectors(pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Axis-angle (P, 3 J) of SMPL's 24 joints, or of more, whose first 22 are SMPL's."""
    vectors = pose.reshape(-1, pose.shape[-1] // 3, 3)
    return rotvec_to_matrix(
        vectors if vectors.shape[1] == JOINT_COUNT else vectors[:, :_BODY_JOINTS]
    )


def _joint_rotations(pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`body_pose` of any layout as matrices (P, 23, 3, 3), or (P, 21, 3, 3) without hands."""
    shape = pose.shape
    if shape[-2:] == (3, 3) and shape[-3:-2] in _BODY_POSES:
        return pose.reshape(-1, *shape[-3:])
    if shape[-1:] == (3,) and shape[-2:-1] in _BODY_POSES:
        return rotvec_to_matrix(pose.reshape(-1, *shape[-2:]))
    if (shape[-1] // 3,) in _BODY_POSES and shape[-1] % 3 == 0:
        return rotvec_to_matrix(pose.reshape(-1, shape[-1] // 3, 3))
    raise ValueError(
        f"body_pose has the shape {shape}, expected (P, 23, 3, 3) matrices or axis-angle (P, 69)"
    )


def _built(
    rotations: npt.NDArray[np.float64], betas: npt.NDArray[np.float64]
) -> list[SMPLParameters]:
    """Rotations (P, J, 3, 3) of the first joints; betas of each person, or of all."""
    persons, joints = rotations.shape[:2]
    if persons > MOST_PERSONS:
        raise ValueError(f"{persons} persons, at most {MOST_PERSONS} are read")
    hands = np.broadcast_to(np.eye(3), (persons, JOINT_COUNT - joints, 3, 3))
    rotations = np.concatenate([rotations, hands], axis=1)
    betas = np.atleast_2d(betas.squeeze())
    if len(betas) not in (1, persons) or betas.ndim != 2:
        raise ValueError(f"betas have the shape {betas.shape}, and poses are of {persons} persons")
    each = np.broadcast_to(betas, (persons, betas.shape[1]))[:, :_BETAS]
    return [_of_person(number, rotations[number], each[number]) for number in range(persons)]


def _of_person(
    number: int, rotations: npt.NDArray[np.float64], betas: npt.NDArray[np.float64]
) -> SMPLParameters:
    try:
        return SMPLParameters(rotations, betas)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"person {number}: {error}") from error


def number_array(values: Mapping[str, Any], name: str) -> npt.NDArray[np.float64]:
    """One of `values`. Raises ValueError for what is no array of numbers."""
    value = values[name]
    array = np.asarray(value) if isinstance(value, np.ndarray | list | tuple) else None
    if array is None or array.dtype.kind not in "iuf" or not array.size or not array.ndim:
        raise ValueError(f"{name} is {brief(value)}, expected an array of numbers")
    return array.astype(np.float64)
