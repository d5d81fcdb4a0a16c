"""What a landmark network says of synthetic people, simulated: nobody is rendered.

Networks that are trained on rendered people learn what renderings look like. A lifter reads points
alone, and people in captured poses give it any number of them, with errors like those measured.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.keypoints.sets import mirrored_name
from dualhmr.networks.landmark_trunk import LANDMARK_NAMES
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.poses import SeededRandom


@dataclass(frozen=True)
class LandmarkErrors:
    """Errors of a landmark network. Each person has a level between 0 and 2.

    The defaults follow from what BlazePose says of 1,200 rendered people, see
    `docs/results/detection.md`.
    """

    closed: float = 0.2
    """Share of people who are not seen at all."""
    unsure: float = 0.15
    """Share of people whose landmarks have a weight between 0 and 1."""
    misread: float = 0.3
    """Share of people who are taken for somebody else, more or less: their depth is another
    person's, and so is a uniform share of where they are in the crop. Their weight is like that of
    others, since the network does not notice."""
    misread_limb: float = 0.06
    """Probability of the same for an arm or a leg alone."""
    swapped: float = 0.05
    """Share of people whose left and right are taken for each other."""
    bone: float = 0.04
    """Standard deviation of the end of every bone, metres, at level 1."""
    flattest: float = 0.35
    """Depths of a person are scaled by a factor between this and 1.05."""
    depth: float = 0.3
    """Standard deviation of a further factor of the depth of every bone, at level 1."""
    flipped: float = 0.06
    """Probability at level 0 that the depth of a bone has the wrong sign; twice that at level 1."""
    turn: float = 0.15
    """Standard deviation of the rotation vector that the body is turned by, radians, at level 1."""
    jitter: float = 0.04
    """Standard deviation of every point in space, metres, which the crop does not show: the network
    means other points of the body. In depth half as much again."""
    pixel: float = 0.03
    """Standard deviation of every point in the crop besides, in halves of the crop."""
    moved: float = 0.15
    """Standard deviation of how far misread people are off, in halves of the crop."""


_PARENTS = {
    f"{side}_{child}": f"{side}_{parent}"
    for side in ("left", "right")
    for child, parent in (
        *(("elbow", "shoulder"), ("wrist", "elbow")),
        *(("knee", "hip"), ("ankle", "knee"), ("big_toe", "ankle"), ("heel", "ankle")),
    )
}
# In the order of `LANDMARK_NAMES`, in which a bone comes after the one that it hangs on.
_BONES = [
    (index, LANDMARK_NAMES.index(_PARENTS[name]))
    for index, name in enumerate(LANDMARK_NAMES)
    if name in _PARENTS
]
_LIMBS = [
    [LANDMARK_NAMES.index(f"{side}_{part}") for part in parts]
    for side in ("left", "right")
    for parts in (("elbow", "wrist"), ("knee", "ankle", "big_toe", "heel"))
]
_MIRRORED = [LANDMARK_NAMES.index(mirrored_name(name)) for name in LANDMARK_NAMES]
_HIPS = [LANDMARK_NAMES.index(f"{side}_hip") for side in ("left", "right")]
_HALF_CROP = torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / CROP_HEIGHT


def simulated_landmarks(
    points: Tensor, keypoints: Tensor, errors: LandmarkErrors, rng: SeededRandom
) -> Tensor:
    """Landmarks (N, 21, 6) as `LandmarkEye` returns them, zero of people who are not seen.

    `points` (N, 21, 3) are where they truly are, metres, in the camera frame, from anywhere;
    `keypoints` (N, 21, 2) in normalised crop coordinates. On the CPU.
    """
    count = len(points)
    true = points - points[:, _HIPS].mean(1, keepdim=True)
    said = _with_errors(true, errors, rng)
    said, misread = _misread(said, errors, rng)
    # The crop shows the errors in x and y at the scale at which it shows the person.
    scale = _spread(keypoints * _HALF_CROP) / _spread(true[..., :2]).clamp(min=0.05)
    shift = (said - true)[..., :2] * scale[:, None, None] / _HALF_CROP
    shift = shift + errors.pixel * rng.normal(*shift.shape)
    shift = shift + errors.moved * rng.normal(count, 1, 2) * misread[:, None, None]
    deeper = torch.tensor([1.0, 1.0, 1.5])
    said = said + errors.jitter * rng.normal(*said.shape) * deeper
    weight = torch.where(rng.happens(errors.unsure, count), rng.uniform(count), 1.0)
    weight = weight * ~rng.happens(errors.closed, count)
    weights = weight[:, None, None].expand(-1, points.shape[1], 1)
    return torch.cat([keypoints + shift, said, weights], dim=2) * (weights > 0)


def _misread(said: Tensor, errors: LandmarkErrors, rng: SeededRandom) -> tuple[Tensor, Tensor]:
    """Some people, and limbs of others, as if they were somebody else; and who is one of them."""
    count = len(said)
    swapped = rng.happens(errors.swapped, count, 1, 1)
    said = torch.where(swapped, said[:, _MIRRORED], said)
    other = said[rng.integers(count, count)]
    misread = rng.happens(errors.misread, count)
    wrong = misread[:, None].expand(said.shape[:2]).clone()
    for limb in _LIMBS:
        wrong[:, limb] |= rng.happens(errors.misread_limb, count, 1)
    across = rng.uniform(count, 1, 1)
    share = torch.cat([across, across, torch.ones_like(across)], dim=2)
    taken = said + share * (other - said)
    return torch.where(wrong[..., None], taken, said), misread


def _with_errors(true: Tensor, errors: LandmarkErrors, rng: SeededRandom) -> Tensor:
    count, landmarks = true.shape[:2]
    level = 2 * rng.uniform(count, 1)
    flatness = errors.flattest + (1.05 - errors.flattest) * rng.uniform(count, 1)
    factor = flatness * (1 + errors.depth * level * rng.normal(count, landmarks))
    flipped = rng.happens(errors.flipped * (1 + level), count, landmarks)
    factor = torch.where(flipped, -factor, factor)
    ends = errors.bone * level[..., None] * rng.normal(count, landmarks, 3)
    said = torch.cat([true[..., :2], flatness[..., None] * true[..., 2:]], dim=2)
    for child, parent in _BONES:
        bone = true[:, child] - true[:, parent] + ends[:, child]
        depth = bone[:, 2:] * factor[:, child, None]
        said[:, child] = said[:, parent] + torch.cat([bone[:, :2], depth], dim=1)
    return said @ rotvec_to_rotmat(errors.turn * level * rng.normal(count, 3)).mT


def _spread(points: Tensor) -> Tensor:
    """(N,) the mean distance of points (N, K, D) from their mean."""
    return (points - points.mean(1, keepdim=True)).norm(dim=-1).mean(1)
