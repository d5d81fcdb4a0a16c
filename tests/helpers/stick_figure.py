"""A body of 40 vertices with people's proportions: small enough for derivatives in float64."""

import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body
from dualhmr.keypoints import BODY_23

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

# Metres, x to the figure's left, y up, z to its front; the right side mirrors the left.
_JOINTS = {
    "pelvis": (0.0, 0.0, 0.0), "left_hip": (0.06, -0.08, 0.0), "spine1": (0.0, 0.1, -0.02),
    "left_knee": (0.1, -0.47, 0.0), "spine2": (0.0, 0.25, 0.0), "left_ankle": (0.09, -0.87, -0.03),
    "spine3": (0.0, 0.3, 0.0), "left_foot": (0.12, -0.93, 0.1), "neck": (0.0, 0.51, -0.02),
    "left_collar": (0.08, 0.42, -0.02), "head": (0.0, 0.6, 0.03),
    "left_shoulder": (0.18, 0.45, -0.03), "left_elbow": (0.44, 0.43, -0.04),
    "left_wrist": (0.69, 0.44, -0.04), "left_hand": (0.78, 0.43, -0.05),
}  # fmt: skip
_SKIN = {
    "nose": ("head", (0.0, 0.66, 0.12)),
    "left_eye": ("head", (0.03, 0.69, 0.1)),
    "left_ear": ("head", (0.07, 0.66, 0.02)),
    "left_big_toe": ("left_foot", (0.1, -0.93, 0.2)),
    "left_small_toe": ("left_foot", (0.16, -0.93, 0.16)),
    "left_heel": ("left_ankle", (0.09, -0.92, -0.08)),
}
_SPARE_VERTICES = 5


def stick_figure(*, dtype: torch.dtype = torch.float64) -> Body:
    """A vertex at every joint, one at every keypoint of face and feet, and five anywhere."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    skin = _both_sides(_SKIN)
    places = [_both_sides(_JOINTS)[name] for name in JOINT_NAMES]
    places += [place for _, place in skin.values()]
    template = torch.cat([torch.tensor(places).double(), normal(_SPARE_VERTICES, 3) * 0.1])
    owners = [*JOINT_NAMES, *(owner for owner, _ in skin.values()), *["spine2"] * _SPARE_VERTICES]
    count = len(template)
    weights = torch.zeros(count, 24, dtype=torch.float64)
    keypoint_rows = torch.zeros(len(BODY_23), count, dtype=torch.float64)
    vertex_of = {name: 24 + index for index, name in enumerate(skin)}
    for vertex, owner in enumerate(owners):
        joint = JOINT_NAMES.index(owner)
        weights[vertex, joint] += 0.7
        weights[vertex, max(PARENTS[joint], 0)] += 0.3
    for row, name in enumerate(BODY_23.names):
        at = vertex_of.get(name) or JOINT_NAMES.index(name)
        keypoint_rows[row, [at, count - 1]] = torch.tensor([0.98, 0.02]).double()
    return Body(
        name="stick_figure",
        v_template=template,
        shapedirs=normal(count, 3, 10) * 0.005,
        posedirs=normal(count, 3, 207) * 0.002,
        joint_regressor=torch.eye(24, count, dtype=torch.float64),
        weights=weights,
        faces=torch.tensor([[0, 1, 2], [24, 25, 26]]),
        parents=PARENTS,
        keypoint_names=BODY_23.names,
        keypoint_regressor=keypoint_rows,
    ).to(dtype=dtype)


def _both_sides(left: dict) -> dict:
    """The table with the right side added."""
    both = dict(left)
    for name, value in left.items():
        if name.startswith("left_"):
            owner, (x, y, z) = value if isinstance(value[0], str) else (None, value)
            place = (-x, y, z)
            mirrored = place if owner is None else (owner.replace("left_", "right_"), place)
            both[name.replace("left_", "right_")] = mirrored
    return both
