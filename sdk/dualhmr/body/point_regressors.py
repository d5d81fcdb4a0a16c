"""Named points of a body as combinations of its joints and vertices, in NumPy or in PyTorch.

Which points a 2D keypoint set means depends on the body. The free body places COCO's keypoints,
toes and heels on its skin. For SMPL there is a public table of vertex ids for face and feet, and
limb keypoints are skeleton joints, as in SPIN and in the Meta-HMR release. OpenPose's neck and
mid-hip are midpoints by definition.

Rows are of the library, dtype and device of the body's own arrays.
"""

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import Array, library_of, to_numpy
from dualhmr.body.arrays import (
    EXTRA_JOINT_NAMES,
    JOINT_COUNT,
    JOINT_NAMES,
    KEYPOINT_MIDPOINTS,
    SMPL_KEYPOINT_JOINTS,
    SMPL_KEYPOINT_VERTICES,
    BodyParts,
)
from dualhmr.keypoints import BODY_25, COCO_17, SPIN_24, SPIN_49, KeypointSet, network_keypoints

SPIN_HIPS = (SPIN_24.index("right_hip_lsp"), SPIN_24.index("left_hip_lsp"))
"""The rows of `SPIN_24` that 3D joints are centred between."""
SKELETON_HIPS = (JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip"))
"""The rows of the skeleton that other 3D joints are centred between."""


@dataclass(frozen=True, eq=False)
class PointRegressor:
    """K named points, each a linear combination of one body's posed joints and vertices."""

    names: tuple[str, ...]
    joint_rows: Array
    """(K, 24)."""
    vertex_rows: Array
    """(K, V)."""

    @property
    def available(self) -> Array:
        """(K,) bool: whether this body has the point. The rows of the others are zero."""
        return self.joint_rows.any(1) | self.vertex_rows.any(1)

    def __add__(self, other: "PointRegressor") -> "PointRegressor":
        """The points of `self`, then those of `other`."""
        joined = library_of(self.joint_rows).concatenate
        return PointRegressor(
            self.names + other.names,
            joined([self.joint_rows, other.joint_rows], 0),
            joined([self.vertex_rows, other.vertex_rows], 0),
        )

    def from_mesh(self, vertices: Array, joints: Array) -> Array:
        """Posed vertices (..., V, 3) and joints (..., 24, 3) -> the points (..., K, 3)."""
        return self.joint_rows @ joints + self.vertex_rows @ vertices


class ComparedPoints(NamedTuple):
    """The points of a body that losses compare."""

    keypoints: PointRegressor
    """In 2D."""
    joints: PointRegressor
    """In 3D."""
    root: tuple[int, int]
    """The two of the joints that all of them are centred between."""


def compared_points(
    body: BodyParts[Any], own: str, keypoints: PointRegressor | None = None
) -> ComparedPoints:
    """Those of networks trained with the keypoints called `own`, see `network_keypoints`.

    3D joints are the 24 of the skeleton, then the points of `own`. Of `SPIN_49`, as in SPIN, CLIFF
    and the Meta-HMR release, they are the 24 that data sets annotate, centred between LSP's hips.
    2D keypoints are `keypoints`, by default those of `own` (of `SPIN_49`: all 49). Raises
    ValueError for an unknown name, or a body without the vertices that `own` needs.
    """
    trained = network_keypoints(own)
    if own == SPIN_49:
        return ComparedPoints(
            keypoints or spin_49_regressor(body), spin_24_regressor(body), SPIN_HIPS
        )
    own_points = keypoint_regressor(body, trained.set)
    joints = skeleton_regressor(body) + own_points
    return ComparedPoints(keypoints or own_points, joints, SKELETON_HIPS)


SMPL_VERTEX_COUNT, SMPL_FACE_COUNT = 6890, 13776


def skeleton_regressor(body: BodyParts[Any]) -> PointRegressor:
    """The body's own 24 joints as points."""
    rows = np.eye(JOINT_COUNT), np.zeros((JOINT_COUNT, body.vertex_count))
    return _regressor(body, JOINT_NAMES, *rows)


def keypoint_regressor(body: BodyParts[Any], keypoint_set: KeypointSet) -> PointRegressor:
    """The points of `body` that `keypoint_set` names, in its order.

    Names without a point on the body (fingers, contour of the face) get zero rows. Raises
    ValueError for a body without keypoints of its own and without SMPL's topology, where SMPL's
    vertex ids mean nothing.
    """
    names = keypoint_set.names
    if body.keypoint_regressor is not None:
        joint_rows, vertex_rows = _own_rows(body, names)
    else:
        joint_rows, vertex_rows = _smpl_rows(body, names)
    if body.extra_joints is not None:
        missing = ~_regressor(body, names, joint_rows, vertex_rows).available
        extra = dict(zip(EXTRA_JOINT_NAMES, to_numpy(body.extra_joints), strict=True))
        for point in (i for i, name in enumerate(names) if missing[i] and name in extra):
            vertex_rows[point] = extra[names[point]]
    return _regressor(body, names, joint_rows, vertex_rows)


def spin_24_regressor(body: BodyParts[Any]) -> PointRegressor:
    """The 24 points that data sets annotate, on `body`; see `SPIN_24`.

    Without `Body.extra_joints` there are 17 of them: LSP's hips are then the body's own hips, and
    the other seven are missing.
    """
    regressor = keypoint_regressor(body, SPIN_24)
    if body.extra_joints is not None:
        return regressor
    own = keypoint_regressor(body, COCO_17)
    for side in ("right", "left"):
        row, source = SPIN_24.index(f"{side}_hip_lsp"), COCO_17.index(f"{side}_hip")
        regressor.joint_rows[row] = own.joint_rows[source]
        regressor.vertex_rows[row] = own.vertex_rows[source]
    return regressor


def spin_49_regressor(body: BodyParts[Any]) -> PointRegressor:
    """The 49 points of SPIN and of the Meta-HMR release: OpenPose's 25, then those 24."""
    return keypoint_regressor(body, BODY_25) + spin_24_regressor(body)


_Rows = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Of joints and of vertices."""


def _regressor(
    body: BodyParts[Any], names: tuple[str, ...], joint_rows: Array, vertex_rows: Array
) -> PointRegressor:
    """From rows in NumPy to the library of the body."""
    like = body.v_template
    if isinstance(like, np.ndarray):
        rows = [each.astype(like.dtype) for each in (joint_rows, vertex_rows)]
    else:
        # Where there is a tensor, torch is imported already.
        rows = [
            sys.modules["torch"].from_numpy(each).to(like) for each in (joint_rows, vertex_rows)
        ]
    return PointRegressor(names, *rows)


def _smpl_rows(body: BodyParts[Any], names: tuple[str, ...]) -> _Rows:
    _check_smpl_topology(body)
    joint_rows = np.zeros((len(names), JOINT_COUNT))
    vertex_rows = np.zeros((len(names), body.vertex_count), np.float32)
    for point, name in enumerate(names):
        if name in SMPL_KEYPOINT_VERTICES:
            vertex_rows[point, SMPL_KEYPOINT_VERTICES[name]] = 1
        elif name in SMPL_KEYPOINT_JOINTS:
            joint_rows[point, JOINT_NAMES.index(SMPL_KEYPOINT_JOINTS[name])] = 1
    return joint_rows, vertex_rows


def _own_rows(body: BodyParts[Any], names: tuple[str, ...]) -> _Rows:
    own = dict(zip(body.keypoint_names, to_numpy(body.keypoint_regressor), strict=True))
    rows = np.zeros((len(names), body.vertex_count), to_numpy(body.keypoint_regressor).dtype)
    for point, name in enumerate(names):
        parts = (name,) if name in own else KEYPOINT_MIDPOINTS.get(name, ())
        if parts and all(part in own for part in parts):
            rows[point] = np.mean([own[part] for part in parts], axis=0)
    return np.zeros((len(names), JOINT_COUNT)), rows


def _check_smpl_topology(body: BodyParts[Any]) -> None:
    """Raises ValueError unless SMPL's vertex ids can be used on `body`.

    A re-ordered mesh has the same counts, so the ids' positions on the template are checked too:
    the nose lies on the middle plane, and left and right mirror each other.
    """
    problem = None
    if (body.vertex_count, len(body.faces)) != (SMPL_VERTEX_COUNT, SMPL_FACE_COUNT):
        problem = f"has {body.vertex_count} vertices and {len(body.faces)} faces"
    elif not _vertices_mirror(to_numpy(body.v_template)):
        problem = "has its face and feet at other vertices (re-ordered mesh?)"
    if problem:
        raise ValueError(
            f"body {body.name!r} {problem}; SMPL's table of keypoint vertices needs SMPL's mesh "
            f"of {SMPL_VERTEX_COUNT} vertices and {SMPL_FACE_COUNT} faces. Add a "
            "keypoint_regressor and keypoint_names to the body's .npz"
        )


def _vertices_mirror(template: npt.NDArray[Any], tolerance_m: float = 0.02) -> bool:
    at = {name: template[vertex] for name, vertex in SMPL_KEYPOINT_VERTICES.items()}
    mirror = np.array([-1.0, 1.0, 1.0])
    pairs = [
        (at[name], at[name.replace("left", "right")] * mirror) for name in at if "left" in name
    ]
    pairs.append((at["nose"], at["nose"] * mirror))
    middle = template.mean(0) * (1 - mirror)
    return all(bool(abs(a - b - middle).max() < 2 * tolerance_m) for a, b in pairs)


NEGLIGIBLE_SHARE = 1e-7
"""A joint with a smaller share a_j of a keypoint cannot move it by a micrometre."""


class PointPairs(NamedTuple):
    """K points as sums over P (point, joint) pairs, see `dualhmr.body.points`; NumPy.

    A point that is named twice is computed once: there are U different ones. Joints' own rows are
    added to the pairs.
    """

    order: npt.NDArray[np.int64]
    """(K,): which of the U different points each one is."""
    joint_rows: npt.NDArray[Any]
    """(U, 24)."""
    points: npt.NDArray[np.int64]
    """(P,): the point of each pair, in ascending order."""
    joints: npt.NDArray[np.int64]
    """(P,): the joint of each pair."""
    share: npt.NDArray[Any]
    """(P,): a_j."""
    basis: npt.NDArray[Any]
    """(1 + B + 207, P, 3): m_j for each number of `Pose.blend`."""


def point_pairs(body: BodyParts[Any], regressor: PointRegressor) -> PointPairs:
    """Collapses `regressor` over `body`'s skinning weights and blend shapes."""
    own = (regressor.joint_rows, regressor.vertex_rows, body.weights)
    joint_rows, vertex_rows, weights = map(to_numpy, own)
    rows = np.concatenate([joint_rows, vertex_rows], axis=1)
    rows, order = _unique_rows(rows)
    joint_rows, vertex_rows = rows[:, :JOINT_COUNT], rows[:, JOINT_COUNT:]
    used = vertex_rows.any(0)
    vertex_rows, weights = vertex_rows[:, used], weights[used]
    shares = vertex_rows @ weights
    points, joints = (abs(shares) > NEGLIGIBLE_SHARE).nonzero()
    parts = (body.v_template[..., None], body.shapedirs, body.posedirs)
    shapes = np.concatenate([to_numpy(part)[used] for part in parts], axis=-1)
    pairs = vertex_rows[points] * weights[:, joints].T
    _, axes, blends = shapes.shape
    basis = pairs @ shapes.reshape(len(shapes), axes * blends)
    basis = basis.reshape(len(pairs), axes, blends).transpose(2, 0, 1)
    return PointPairs(order, joint_rows, points, joints, shares[points, joints], basis)


def _unique_rows(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The different ones, and which of them each row is."""
    found: dict[bytes, int] = {}
    rows = rows + 0.0  # -0.0 has other bytes
    order = [found.setdefault(row.tobytes(), len(found)) for row in rows]
    first = [order.index(number) for number in range(len(found))]
    return rows[first], np.array(order, np.int64)
