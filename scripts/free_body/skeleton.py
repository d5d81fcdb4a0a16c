"""SMPL's 24 joints, and which of anny's 104 bones each of them stands for."""

from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

JOINT_NAMES = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hand",
    "right_hand",
)
JOINT_INDEX = {name: index for index, name in enumerate(JOINT_NAMES)}
JOINT_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip

SIDES = {"L": "left", "R": "right"}

# Shell patterns over anny's bone names. Every bone matches exactly one row.
_CENTRAL_BONES: dict[str, tuple[str, ...]] = {
    "pelvis": ("root", "pelvis.[LR]", "spine05"),
    "spine1": ("spine04", "spine03"),
    "spine2": ("spine02",),
    "spine3": ("spine01",),
    "neck": ("neck01", "neck02"),
    "head": ("neck03", "head", "eye.[LR]"),
}
_SIDED_BONES: dict[str, tuple[str, ...]] = {
    "hip": ("upperleg0?",),
    "knee": ("lowerleg0?",),
    "ankle": ("foot",),
    "foot": ("toe*",),
    "collar": ("clavicle", "shoulder01"),
    "shoulder": ("upperarm0?",),
    "elbow": ("lowerarm0?",),
    "wrist": ("wrist", "metacarpal?", "finger1-1"),
    "hand": ("finger1-[23]", "finger[2-5]-?"),
}
# The bones whose heads, averaged, are the joint's centre.
_CENTRAL_CENTRES = {
    "pelvis": "root",
    "spine1": "spine04",
    "spine2": "spine02",
    "spine3": "spine01",
    "neck": "neck01",
    "head": "neck03",
}
_SIDED_CENTRES = {
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
    "foot": "toe?-1",
    "collar": "clavicle",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "hand": "finger[2-5]-1",
}


def joint_of_each_bone(bone_labels: list[str]) -> npt.NDArray[np.int64]:
    """Index (B,) of the SMPL joint that each bone moves with."""
    patterns = [(joint, pattern) for joint, row in _CENTRAL_BONES.items() for pattern in row]
    for suffix, side in SIDES.items():
        for joint, row in _SIDED_BONES.items():
            patterns += [(f"{side}_{joint}", f"{pattern}.{suffix}") for pattern in row]
    joints = []
    for label in bone_labels:
        matches = [joint for joint, pattern in patterns if fnmatchcase(label, pattern)]
        if len(matches) != 1:
            raise ValueError(f"bone {label!r} matches {matches}, expected exactly one joint")
        joints.append(JOINT_INDEX[matches[0]])
    return np.array(joints)


def joint_centre_matrix(bone_labels: list[str]) -> npt.NDArray[np.float64]:
    """Matrix (24, B) that takes bone heads to joint centres; every row sums to 1."""
    centres = dict(_CENTRAL_CENTRES)
    for suffix, side in SIDES.items():
        centres |= {f"{side}_{joint}": f"{row}.{suffix}" for joint, row in _SIDED_CENTRES.items()}
    matches = np.array(
        [[fnmatchcase(label, centres[joint]) for label in bone_labels] for joint in JOINT_NAMES]
    )
    return matches / matches.sum(1, keepdims=True)
