"""What people do in a pose: by simple geometric rules, and pools in which no category dominates."""

import math
from collections import Counter
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body, load_body, pose_skeleton
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.poses import PoseFile

STANDING = "standing"

_PELVIS, _NECK, _HEAD = (JOINT_NAMES.index(name) for name in ("pelvis", "neck", "head"))
_AT_ONCE = 4096


def _pair(part: str) -> list[int]:
    return [JOINT_NAMES.index(f"{side}_{part}") for side in ("left", "right")]


_HIPS, _KNEES, _ANKLES = _pair("hip"), _pair("knee"), _pair("ankle")
_WRISTS, _SHOULDERS = _pair("wrist"), _pair("shoulder")

# Degrees, and metres of the free body, which is 1.7 m tall. Chosen by looking at captured poses.
_UPSIDE_DOWN, _LEVEL, _BENT = 110.0, 60.0, 30.0  # angle of the trunk from the vertical
_LOW = 0.28  # a pelvis this close to the lowest point rests on the floor
_LYING = 0.45  # the same for a level trunk
_ON_FLOOR = 0.12  # height of a knee that is kneeled on
_FOLDED, _SEATED = 105.0, 50.0  # bent knees and hips
_STRAIGHT, _STRIDING = 35.0, 80.0  # bent knees
_STANCE = 0.45  # between the feet of somebody who stands


@lru_cache(maxsize=1)
def _skeleton() -> Body:
    return load_body()


@torch.no_grad()
def pose_categories(rotvecs: Tensor) -> tuple[str, ...]:
    """What people do in poses (N, 24, 3) of a y-up world, such as `standing`, by the rules below.

    The joints are those of the free body in its mean shape. A pose without its motion says only so
    much: a person who runs, throws or fights is in `sport`, as is all that no rule knows.
    """
    parts = [_categories(part) for part in rotvecs.split(_AT_ONCE)]
    return tuple(name for part in parts for name in part)


def _categories(rotvecs: Tensor) -> list[str]:
    body = _skeleton()
    betas = rotvecs.new_zeros(len(rotvecs), body.beta_count)
    joints = pose_skeleton(body, rotvec_to_rotmat(rotvecs), betas).joints
    height = joints[..., 1] - joints[..., 1].amin(1, keepdim=True)
    trunk = joints[:, _NECK] - joints[:, _PELVIS]
    tilt = _angle(trunk, torch.tensor([0.0, 1.0, 0.0]))
    thighs, shins = joints[:, _KNEES] - joints[:, _HIPS], joints[:, _ANKLES] - joints[:, _KNEES]
    hips, knees = _angle(thighs, -trunk[:, None]), _angle(thighs, shins)
    pelvis, feet = height[:, _PELVIS], joints[:, _ANKLES[0]] - joints[:, _ANKLES[1]]
    lifted = (height[:, _WRISTS] > height[:, [_HEAD]]).sum(1)
    upright = tilt < _BENT
    # In order: the first rule that holds counts.
    rules = {
        "gymnastics": tilt > _UPSIDE_DOWN,
        "lying": (tilt > _LEVEL) & (pelvis < _LYING),
        "sitting_floor": pelvis < _LOW,
        "kneeling": (height[:, _KNEES] < _ON_FLOOR).any(1),
        "squatting": (knees.amin(1) > _FOLDED) & (hips.amin(1) > _SEATED),
        "sitting_chair": (hips.amin(1) > _SEATED) & (knees.amax(1) > _SEATED) & (tilt < _LEVEL),
        "climbing": (lifted > 0) & (hips.amax(1) > _SEATED) & upright,
        "standing_work": (tilt > _BENT) | ((lifted > 0) & (knees.amax(1) < _STRAIGHT)),
        STANDING: (knees.amax(1) < _STRAIGHT) & (feet[:, [0, 2]].norm(dim=1) < _STANCE),
        "walking": _strides(joints, feet) & (knees.amax(1) < _STRIDING),
    }
    names = (*rules, "sport")
    holds = torch.stack([*rules.values(), torch.ones_like(upright)])
    return [names[first] for first in holds.int().argmax(0).tolist()]


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Degrees between vectors (..., 3)."""
    cosine = torch.nn.functional.cosine_similarity(a, b.expand_as(a), dim=-1)
    return cosine.clamp(-1, 1).acos() * (180 / math.pi)


def _strides(joints: Tensor, feet: Tensor) -> Tensor:
    """Whether the feet (N, 3) are further apart along the walk than across."""
    across = joints[:, _HIPS[0]] - joints[:, _HIPS[1]]
    across = torch.nn.functional.normalize(across[:, [0, 2]], dim=1)
    apart = feet[:, [0, 2]]
    sideways = (apart * across).sum(1)
    return apart.square().sum(1) > 2 * sideways.square()


def with_categories(poses: PoseFile) -> PoseFile:
    """The same poses, with a category by `pose_categories` where the file has none."""
    unknown = [index for index, category in enumerate(poses.categories) if not category]
    if not unknown:
        return poses
    categories = list(poses.categories)
    for index, category in zip(unknown, pose_categories(poses.rotvecs[unknown]), strict=True):
        categories[index] = category
    return PoseFile(poses.rotvecs, poses.clips, tuple(categories))


def capped_shares(counts: dict[str, int], largest: float) -> dict[str, float]:
    """Shares in proportion to `counts`, but none above `largest`; they add up to 1.

    With fewer categories than 1 / `largest`, all have the same share. Raises ValueError where
    `largest` is no share.
    """
    if not 0 < largest <= 1:
        raise ValueError(f"the largest share is {largest}, expected more than 0 and at most 1")
    if len(counts) * largest <= 1:
        return dict.fromkeys(counts, 1 / len(counts))
    shares: dict[str, float] = {}
    left = dict(counts)
    while left:
        rest = (1 - largest * len(shares)) / sum(left.values())
        over = [name for name, count in left.items() if count * rest > largest * (1 + 1e-9)]
        if not over:
            return shares | {name: count * rest for name, count in left.items()}
        for name in over:
            shares[name] = largest
            del left[name]
    return shares


def balanced(poses: PoseFile, largest: float) -> PoseFile:
    """Poses of which no category has more than the share `largest`.

    Poses of categories that are held back are left out, evenly over the file; no pose is there
    twice. Raises ValueError as `capped_shares` does, and without poses.
    """
    if not poses.clips:
        raise ValueError("there are no poses to balance")
    poses = with_categories(poses)
    counts = Counter(poses.categories)
    shares = capped_shares(dict(counts), largest)
    # As many as there can be where the category with the fewest poses for its share has them all.
    total = min(counts[name] / share for name, share in shares.items())
    kept: list[int] = []
    of_category = np.array(poses.categories)
    for name, share in shares.items():
        rows = np.flatnonzero(of_category == name)
        count = max(1, round(share * total))
        kept += rows[np.linspace(0, len(rows), count, endpoint=False).astype(int)].tolist()
    kept.sort()
    return PoseFile(
        poses.rotvecs[kept],
        tuple(poses.clips[row] for row in kept),
        tuple(poses.categories[row] for row in kept),
    )
