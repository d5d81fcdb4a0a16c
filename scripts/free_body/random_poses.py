"""Random poses that a person could hold, to fit and to measure pose blend shapes."""

import numpy as np
from scripts.free_body.kinematics import Array, rotvec_to_rotmat
from scripts.free_body.skeleton import JOINT_INDEX, JOINT_NAMES

_LARGEST_ANGLE_RAD = 2.4
_DEFAULT_SPREAD_RAD = (0.12, 0.12, 0.12)
_SPREADS_RAD = {
    "hip": (0.7, 0.25, 0.3),
    "shoulder": (0.5, 0.6, 0.8),
    "spine1": (0.3, 0.2, 0.15),
    "spine2": (0.2, 0.2, 0.12),
    "spine3": (0.15, 0.15, 0.1),
    "neck": (0.25, 0.25, 0.2),
    "head": (0.25, 0.25, 0.2),
    "ankle": (0.3, 0.15, 0.15),
    "wrist": (0.5, 0.3, 0.4),
    "collar": (0.1, 0.15, 0.15),
}


def random_poses(count: int, *, seed: int) -> Array:
    """Local rotations (count, 24, 3, 3); the root stays, knees and elbows bend one way."""
    rng = np.random.default_rng(seed)
    spread = [_SPREADS_RAD.get(name.split("_")[-1], _DEFAULT_SPREAD_RAD) for name in JOINT_NAMES]
    pose = rng.standard_normal((count, len(JOINT_NAMES), 3)) * np.array(spread)
    pose[:, 0] = 0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        pose[:, JOINT_INDEX[f"{side}_knee"], 0] = 0.9 * np.abs(rng.standard_normal(count))
        pose[:, JOINT_INDEX[f"{side}_elbow"], 1] = -sign * 0.9 * np.abs(rng.standard_normal(count))
        pose[:, JOINT_INDEX[f"{side}_shoulder"], 2] -= sign * 0.7  # arms mostly hang
    angle = np.linalg.norm(pose, axis=-1, keepdims=True)
    return rotvec_to_rotmat(pose * np.minimum(1, _LARGEST_ANGLE_RAD / np.maximum(angle, 1e-9)))
