"""Named points of a posed body: skeleton joints and keypoints on the skin, without its mesh.

A keypoint that is a linear combination of skinned vertices is

    k = sum_v r_v sum_j w_vj (G_j x_v + t_j) = sum_j (G_j m_j + a_j t_j),

with x_v the displaced rest vertex, G_j and t_j joint j's transform, m_j = sum_v r_v w_vj x_v and
a_j = sum_v r_v w_vj. As x_v is linear in the blend weights, so is m_j: its basis is computed once
per body, and a keypoint costs as much as the few joints that move it, exactly.

Which points a 2D keypoint set means depends on the body. The free body places COCO's keypoints,
toes and heels on its skin. For SMPL there is a public table of vertex ids for face and feet, and
limb keypoints are skeleton joints, as in SPIN and in the Meta-HMR release. OpenPose's neck and
mid-hip are midpoints by definition.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.arrays import (
    EXTRA_JOINT_NAMES,
    JOINT_COUNT,
    JOINT_NAMES,
    KEYPOINT_MIDPOINTS,
    SMPL_KEYPOINT_JOINTS,
    SMPL_KEYPOINT_VERTICES,
)
from dualhmr.body.model import Body, Pose
from dualhmr.keypoints import BODY_25, COCO_17, SPIN_24, KeypointSet

SPIN_HIPS = (SPIN_24.index("right_hip_lsp"), SPIN_24.index("left_hip_lsp"))
"""The rows of `SPIN_24` that 3D joints are centred between."""
NEGLIGIBLE_SHARE = 1e-7
"""A joint with a smaller share a_j of a keypoint cannot move it by a micrometre."""


@dataclass(frozen=True, eq=False)
class PointRegressor:
    """K named points, each a linear combination of one body's posed joints and vertices."""

    names: tuple[str, ...]
    joint_rows: Tensor
    """(K, 24)."""
    vertex_rows: Tensor
    """(K, V)."""

    @property
    def available(self) -> Tensor:
        """(K,) bool: whether this body has the point. The rows of the others are zero."""
        return self.joint_rows.any(1) | self.vertex_rows.any(1)

    def __add__(self, other: "PointRegressor") -> "PointRegressor":
        """The points of `self`, then those of `other`."""
        return PointRegressor(
            self.names + other.names,
            torch.cat([self.joint_rows, other.joint_rows]),
            torch.cat([self.vertex_rows, other.vertex_rows]),
        )

    def from_mesh(self, vertices: Tensor, joints: Tensor) -> Tensor:
        """Posed vertices (..., V, 3) and joints (..., 24, 3) -> the points (..., K, 3)."""
        return self.joint_rows @ joints + self.vertex_rows @ vertices


class PointPairs(NamedTuple):
    """The constants of the module's equation: K points as sums over P (point, joint) pairs.

    `joint_rows @ joints` is added for points that are skeleton joints.
    """

    joint_rows: Tensor
    """(K, 24)."""
    pair_rows: Tensor
    """(K, P): 1 for the pairs that belong to the point."""
    joints: Tensor
    """(P,) int64, the pair's joint."""
    share: Tensor
    """(P,): a_j."""
    basis: Tensor
    """(1 + B + 207, P, 3): m_j for each number of `Pose.blend`."""


class BodyPoints:
    """Computes the K points of a regressor from a posed skeleton; differentiable."""

    def __init__(self, body: Body, regressor: PointRegressor) -> None:
        """Collapses `regressor` over `body`'s skinning weights and blend shapes."""
        self.names = regressor.names
        self.available = regressor.available
        # A point that is named twice is computed once.
        rows = torch.cat([regressor.joint_rows, regressor.vertex_rows], dim=1)
        rows, self._order = torch.unique(rows, dim=0, return_inverse=True)
        self._joint_rows, vertex_rows = rows.tensor_split([JOINT_COUNT], dim=1)
        shares = vertex_rows @ body.weights
        self._points, self._joints = (shares.abs() > NEGLIGIBLE_SHARE).nonzero(as_tuple=True)
        self._share = shares[self._points, self._joints]
        self._basis = self._collapse(body, vertex_rows)
        self._sum_pairs = torch.zeros(len(rows), len(self._points)).to(self._basis)
        self._sum_pairs[self._points, torch.arange(len(self._points))] = 1

    def __call__(self, pose: Pose) -> Tensor:
        """A posed skeleton of N persons -> points (N, K, 3)."""
        on_joints = self._joint_rows @ pose.joints
        mean = (pose.blend @ self._basis).unflatten(1, (-1, 3))
        transform = pose.transforms[:, self._joints]
        moved = (transform[..., :3] @ mean[..., None])[..., 0]
        moved = moved + self._share[:, None] * transform[..., 3]
        return (on_joints + self._sum_pairs @ moved)[:, self._order]

    def pairs(self) -> PointPairs:
        """The constants that `__call__` uses, for the closed-form gradient."""
        return PointPairs(
            self._joint_rows[self._order],
            self._sum_pairs[self._order],
            self._joints,
            self._share,
            self._basis.unflatten(1, (-1, 3)),
        )

    def _collapse(self, body: Body, vertex_rows: Tensor) -> Tensor:
        """The basis (1 + B + 207, P x 3) of m_j, for every (point, joint) pair."""
        blend_shapes = torch.cat(
            [body.v_template[..., None], body.shapedirs, body.posedirs], dim=-1
        )
        used = vertex_rows.any(0)
        rows, weights, shapes = vertex_rows[:, used], body.weights[used], blend_shapes[used]
        pairs = rows[self._points] * weights[:, self._joints].T
        basis = (pairs @ shapes.flatten(1)).unflatten(1, shapes.shape[1:])
        return basis.permute(2, 0, 1).flatten(1)


SMPL_VERTEX_COUNT, SMPL_FACE_COUNT = 6890, 13776


def skeleton_regressor(body: Body) -> PointRegressor:
    """The body's own 24 joints as points."""
    rows = torch.eye(JOINT_COUNT).to(body.v_template)
    return PointRegressor(JOINT_NAMES, rows, rows.new_zeros(len(rows), body.vertex_count))


def keypoint_regressor(body: Body, keypoint_set: KeypointSet) -> PointRegressor:
    """The points of `body` that `keypoint_set` names, in its order.

    Names without a point on the body (fingers, contour of the face) get zero rows. Raises
    ValueError for a body without keypoints of its own and without SMPL's topology, where SMPL's
    vertex ids mean nothing.
    """
    if body.keypoint_regressor is not None:
        return _with_extra_joints(body, _from_own_keypoints(body, keypoint_set))
    _check_smpl_topology(body)
    joint_rows = body.v_template.new_zeros(len(keypoint_set), JOINT_COUNT)
    vertex_rows = body.v_template.new_zeros(len(keypoint_set), body.vertex_count)
    for point, name in enumerate(keypoint_set.names):
        if name in SMPL_KEYPOINT_VERTICES:
            vertex_rows[point, SMPL_KEYPOINT_VERTICES[name]] = 1
        elif name in SMPL_KEYPOINT_JOINTS:
            joint_rows[point, JOINT_NAMES.index(SMPL_KEYPOINT_JOINTS[name])] = 1
    return _with_extra_joints(body, PointRegressor(keypoint_set.names, joint_rows, vertex_rows))


def spin_24_regressor(body: Body) -> PointRegressor:
    """The 24 points that data sets annotate, on `body`; see `SPIN_24`.

    Without `Body.extra_joints` there are 17 of them: LSP's hips are then the body's own hips, and
    the other seven are missing.
    """
    regressor = keypoint_regressor(body, SPIN_24)
    if body.extra_joints is not None:
        return regressor
    own = keypoint_regressor(body, COCO_17)
    joint_rows, vertex_rows = regressor.joint_rows.clone(), regressor.vertex_rows.clone()
    for side in ("right", "left"):
        row, source = SPIN_24.index(f"{side}_hip_lsp"), COCO_17.index(f"{side}_hip")
        joint_rows[row], vertex_rows[row] = own.joint_rows[source], own.vertex_rows[source]
    return PointRegressor(regressor.names, joint_rows, vertex_rows)


def spin_49_regressor(body: Body) -> PointRegressor:
    """The 49 points of SPIN and of the Meta-HMR release: OpenPose's 25, then those 24."""
    return keypoint_regressor(body, BODY_25) + spin_24_regressor(body)


def _with_extra_joints(body: Body, regressor: PointRegressor) -> PointRegressor:
    """With the joints of `Body.extra_joints`, where `regressor` names them and lacks them."""
    if body.extra_joints is None:
        return regressor
    vertex_rows = regressor.vertex_rows.clone()
    missing = ~regressor.available
    for name, row in zip(EXTRA_JOINT_NAMES, body.extra_joints, strict=True):
        for point in (i for i, own in enumerate(regressor.names) if own == name and missing[i]):
            vertex_rows[point] = row
    return PointRegressor(regressor.names, regressor.joint_rows, vertex_rows)


def _check_smpl_topology(body: Body) -> None:
    """Raises ValueError unless SMPL's vertex ids can be used on `body`.

    A re-ordered mesh has the same counts, so the ids' positions on the template are checked too:
    the nose lies on the middle plane, and left and right mirror each other.
    """
    problem = None
    if (body.vertex_count, len(body.faces)) != (SMPL_VERTEX_COUNT, SMPL_FACE_COUNT):
        problem = f"has {body.vertex_count} vertices and {len(body.faces)} faces"
    elif not _vertices_mirror(body.v_template):
        problem = "has its face and feet at other vertices (re-ordered mesh?)"
    if problem:
        raise ValueError(
            f"body {body.name!r} {problem}; SMPL's table of keypoint vertices needs SMPL's mesh "
            f"of {SMPL_VERTEX_COUNT} vertices and {SMPL_FACE_COUNT} faces. Add a "
            "keypoint_regressor and keypoint_names to the body's .npz"
        )


def _vertices_mirror(template: Tensor, tolerance_m: float = 0.02) -> bool:
    at = {name: template[vertex] for name, vertex in SMPL_KEYPOINT_VERTICES.items()}
    mirror = torch.tensor([-1.0, 1.0, 1.0], device=template.device, dtype=template.dtype)
    pairs = [
        (at[name], at[name.replace("left", "right")] * mirror) for name in at if "left" in name
    ]
    pairs.append((at["nose"], at["nose"] * mirror))
    middle = template.mean(0) * (1 - mirror)
    return all(bool((a - b - middle).abs().max() < 2 * tolerance_m) for a, b in pairs)


def _from_own_keypoints(body: Body, keypoint_set: KeypointSet) -> PointRegressor:
    assert body.keypoint_regressor is not None
    rows = body.keypoint_regressor.new_zeros(len(keypoint_set), body.vertex_count)
    own = {name: body.keypoint_regressor[i] for i, name in enumerate(body.keypoint_names)}
    for point, name in enumerate(keypoint_set.names):
        parts = (name,) if name in own else KEYPOINT_MIDPOINTS.get(name, ())
        if parts and all(part in own for part in parts):
            rows[point] = torch.stack([own[part] for part in parts]).mean(0)
    return PointRegressor(keypoint_set.names, rows.new_zeros(len(rows), len(JOINT_NAMES)), rows)
