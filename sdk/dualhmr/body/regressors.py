"""Which points of which body a named 2D keypoint set means.

The free body places COCO's keypoints, toes and heels on its skin. SMPL bodies have a public table
of vertex ids for face and feet, and their limb keypoints are skeleton joints (SPIN's convention,
also that of the Meta-HMR release). OpenPose's neck and mid-hip are midpoints by definition.
"""

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.body.points import PointRegressor, skeleton_rows
from dualhmr.body_files import JOINT_NAMES
from dualhmr.keypoints import KeypointSet

SMPL_VERTEX_COUNT, SMPL_FACE_COUNT = 6890, 13776

# Vertex ids on SMPL's topology, the table that smplx publishes.
SMPL_KEYPOINT_VERTICES = {
    "nose": 332, "left_eye": 2800, "right_eye": 6260, "left_ear": 583, "right_ear": 4071,
    "left_big_toe": 3216, "left_small_toe": 3226, "left_heel": 3387,
    "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
}  # fmt: skip
SMPL_KEYPOINT_JOINTS = {
    **{f"{side}_{part}": f"{side}_{part}" for side in ("left", "right")
       for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
    "neck": "neck", "mid_hip": "pelvis",
}  # fmt: skip
_MIDPOINTS = {
    "neck": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"),
}


def skeleton_regressor(body: Body) -> PointRegressor:
    """The body's own 24 joints as points."""
    rows = skeleton_rows(list(range(len(JOINT_NAMES)))).to(body.v_template)
    return PointRegressor(JOINT_NAMES, rows, rows.new_zeros(len(rows), body.vertex_count))


def keypoint_regressor(body: Body, keypoint_set: KeypointSet) -> PointRegressor:
    """The points of `body` that `keypoint_set` names, in its order.

    Names that the body has no point for (fingers, contour of the face) get empty rows. Raises
    ValueError for a body that carries no keypoints and does not have SMPL's topology: vertex ids
    mean nothing on it.
    """
    if body.keypoint_regressor is not None:
        return _from_own_keypoints(body, keypoint_set)
    check_smpl_topology(body)
    vertex_rows = body.v_template.new_zeros(len(keypoint_set), body.vertex_count)
    joints: list[int | None] = []
    for point, name in enumerate(keypoint_set.names):
        if name in SMPL_KEYPOINT_VERTICES:
            vertex_rows[point, SMPL_KEYPOINT_VERTICES[name]] = 1
        joint = SMPL_KEYPOINT_JOINTS.get(name)
        joints.append(None if joint is None else JOINT_NAMES.index(joint))
    return PointRegressor(keypoint_set.names, skeleton_rows(joints).to(vertex_rows), vertex_rows)


def check_smpl_topology(body: Body) -> None:
    """Raises ValueError unless `body` has the topology that SMPL's vertex ids belong to.

    Counts are not enough, since a re-ordered mesh has the same: the ids must also be where they
    should on the template - a nose on the middle plane, and pairs that mirror each other.
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
        parts = (name,) if name in own else _MIDPOINTS.get(name, ())
        if parts and all(part in own for part in parts):
            rows[point] = torch.stack([own[part] for part in parts]).mean(0)
    return PointRegressor(keypoint_set.names, rows.new_zeros(len(rows), len(JOINT_NAMES)), rows)
