"""What a body can do: limits of its joints, and limbs that pass through each other."""

import math
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_COUNT, JOINT_NAMES
from dualhmr.body.model import Body, load_body, pose_skeleton
from dualhmr.rotations import rotvec_to_rotmat

# Degrees of a left joint's rotation vector about x, y and z, least and most: what captured people
# do, with the rare outliers of motion capture left out. Those of the right side mirror them.
_LIMITS = {
    "hip": ((-160, 45), (-45, 75), (-65, 80)),
    "knee": ((-15, 160), (-20, 20), (-20, 20)),
    "ankle": ((-65, 65), (-65, 45), (-45, 45)),
    "foot": ((-45, 45), (-20, 20), (-20, 20)),
    "spine1": ((-35, 60), (-30, 30), (-30, 30)),
    "spine2": ((-25, 25), (-20, 20), (-15, 15)),
    "spine3": ((-30, 30), (-20, 20), (-25, 25)),
    "neck": ((-40, 40), (-45, 45), (-40, 40)),
    "head": ((-60, 60), (-55, 55), (-50, 50)),
    "collar": ((-10, 10), (-30, 15), (-15, 32)),
    "shoulder": ((-150, 145), (-135, 90), (-103, 70)),
    "elbow": ((-50, 50), (-160, 5), (-95, 85)),
    "wrist": ((-90, 90), (-65, 65), (-60, 95)),
    "hand": ((-20, 20), (-20, 20), (-75, 20)),
}
LIMIT_SLACK_DEGREES = 12.0
"""Excess that counts as noise: poses are varied by about 7 degrees at every joint."""
OVERLAP_SLACK_M = 0.06
"""Overlap of limbs that counts as flesh: 99% of captured poses have less."""
_AT_ONCE = 2048


def _bounds() -> Tensor:
    """(24, 3, 2) degrees."""
    bounds = torch.tensor([-1e3, 1e3]).repeat(JOINT_COUNT, 3, 1)
    for joint, name in enumerate(JOINT_NAMES):
        side, _, part = name.partition("_")
        limits = _LIMITS.get(part if side in ("left", "right") else name)
        if limits is not None:
            left = torch.tensor(limits, dtype=torch.float32)
            right = torch.stack([left[0], -left[1].flip(0), -left[2].flip(0)])
            bounds[joint] = right if side == "right" else left
    return bounds


_BOUNDS = _bounds()


def limit_excess(rotvecs: Tensor) -> Tensor:
    """How far poses (N, 24, 3) go beyond the limits of a joint: the worst joint's degrees, (N,)."""
    degrees = rotvecs * (180 / math.pi)
    low, high = _BOUNDS.to(rotvecs).unbind(-1)
    return torch.maximum(low - degrees, degrees - high).clamp_min(0).amax((1, 2))


class _Capsule(NamedTuple):
    start: str
    end: str
    radius: float


_CAPSULES = {
    "head": _Capsule("neck", "head", 0.075),
    "chest": _Capsule("spine2", "spine3", 0.11),
    "belly": _Capsule("pelvis", "spine1", 0.11),
    **{
        f"{side}_{name}": _Capsule(f"{side}_{start}", f"{side}_{end}", radius)
        for side in ("left", "right")
        for name, start, end, radius in (
            ("upper_arm", "shoulder", "elbow", 0.045),
            ("forearm", "elbow", "wrist", 0.036),
            ("palm", "wrist", "hand", 0.035),
            ("thigh", "hip", "knee", 0.065),
            ("shin", "knee", "ankle", 0.048),
            ("sole", "ankle", "foot", 0.035),
        )
    },
}
_TOUCHING = {
    *(("head", "chest"), ("chest", "belly")),
    *((trunk, f"{side}_{limb}") for side in ("left", "right")
      for trunk, limb in (("chest", "upper_arm"), ("belly", "thigh"), ("head", "upper_arm"))),
    *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right")
      for a, b in (("upper_arm", "forearm"), ("forearm", "palm"), ("upper_arm", "palm"),
                   ("thigh", "shin"), ("shin", "sole"), ("thigh", "sole"))),
    ("left_thigh", "right_thigh"),
}  # fmt: skip
"""Neighbours, which overlap in every pose."""
_PAIRS = [pair for pair in combinations(_CAPSULES, 2) if pair not in _TOUCHING]


@lru_cache(maxsize=1)
def _skeleton() -> Body:
    return load_body()


@torch.no_grad()
def limb_overlap_m(rotvecs: Tensor) -> Tensor:
    """How deep limbs of poses (N, 24, 3) are inside each other: the worst pair's metres, (N,).

    Limbs are capsules around the bones of the free body in its mean shape.
    """
    return torch.cat([_overlap(part) for part in rotvecs.split(_AT_ONCE)])


def _overlap(rotvecs: Tensor) -> Tensor:
    body = _skeleton()
    betas = rotvecs.new_zeros(len(rotvecs), body.beta_count)
    joints = pose_skeleton(body, rotvec_to_rotmat(rotvecs), betas).joints
    ends = {
        name: (joints[:, JOINT_NAMES.index(each.start)], joints[:, JOINT_NAMES.index(each.end)])
        for name, each in _CAPSULES.items()
    }
    first, second = ([pair[side] for pair in _PAIRS] for side in (0, 1))
    distance = _segment_distance(
        *(torch.stack([ends[name][end] for name in names], dim=1)
          for names in (first, second) for end in (0, 1))
    )  # fmt: skip
    radii = torch.tensor([_CAPSULES[a].radius + _CAPSULES[b].radius for a, b in _PAIRS])
    return (radii - distance).clamp_min(0).amax(1)


def _segment_distance(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Least distance between the segments from `a` to `b` and from `c` to `d`, (..., 3) each.

    Ericson, Real-Time Collision Detection (2005), 5.1.9: the closest points of both lines, then
    each brought back into its segment.
    """
    u, v, w = b - a, d - c, a - c
    uu, vv, uv = (u * u).sum(-1), (v * v).sum(-1), (u * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    parallel = (uu * vv - uv * uv).clamp_min(1e-9)
    s = ((uv * vw - uw * vv) / parallel).clamp(0, 1)
    t = ((uv * s + vw) / vv.clamp_min(1e-9)).clamp(0, 1)
    s = ((uv * t - uw) / uu.clamp_min(1e-9)).clamp(0, 1)
    return (w + s[..., None] * u - t[..., None] * v).norm(dim=-1)


def is_possible(rotvecs: Tensor) -> Tensor:
    """Whether poses (N, 24, 3) keep to the limits of joints and no limb is inside another, (N,)."""
    within = limit_excess(rotvecs) <= LIMIT_SLACK_DEGREES
    return within & (limb_overlap_m(rotvecs) <= OVERLAP_SLACK_M)
