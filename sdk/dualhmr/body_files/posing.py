"""Linear blend skinning in NumPy, for bodies that need no gradient.

The formulas and their conventions are those of `dualhmr.body.skinning`, which tests hold this to.
"""

import numpy as np
import numpy.typing as npt

from dualhmr.body_files.arrays import JOINT_COUNT, BodyArrays

FloatArray = npt.NDArray[np.float32]


def pose_arrays(
    body: BodyArrays, rotations: FloatArray, betas: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """One person's vertices (V, 3) and joints (24, 3) in metres, before translation.

    `rotations` (24, 3, 3) relative to the parent joint, the first being the global orientation;
    `betas` (B,).
    """
    shaped = body.v_template + _displacement(body.shapedirs, betas)
    rest = body.joint_regressor @ shaped
    world, joints = _chain(body, rotations, rest)
    feature = (rotations[1:] - np.eye(3, dtype=rotations.dtype)).ravel()
    at_rest = shaped + _displacement(body.posedirs, feature)
    shift = joints - (world @ rest[..., None])[..., 0]
    blended = (body.weights @ world.reshape(JOINT_COUNT, 9)).reshape(-1, 3, 3)
    vertices = (blended @ at_rest[..., None])[..., 0] + body.weights @ shift
    return vertices, joints


def _displacement(directions: FloatArray, weights: FloatArray) -> FloatArray:
    """Directions (V, 3, N) weighted by (N,): (V, 3)."""
    # As one matrix: NumPy multiplies stacks of small ones several times slower.
    return (directions.reshape(-1, len(weights)) @ weights).reshape(-1, 3)


def _chain(
    body: BodyArrays, rotations: FloatArray, rest: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Each joint's rotation (24, 3, 3) in the body's frame, and where it comes to be (24, 3)."""
    world, joints = np.empty_like(rotations), np.empty_like(rest)
    for joint, parent in enumerate(body.parents):
        if parent < 0:
            world[joint], joints[joint] = rotations[joint], rest[joint]
            continue
        world[joint] = world[parent] @ rotations[joint]
        joints[joint] = joints[parent] + world[parent] @ (rest[joint] - rest[parent])
    return world, joints
