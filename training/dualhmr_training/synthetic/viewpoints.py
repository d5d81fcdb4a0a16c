"""From where synthetic people are seen."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.synthetic.dice import Dice


@dataclass(frozen=True)
class Viewpoints:
    """From where people are seen. Angles in radians; yaw is uniform."""

    pitch: float = 0.17
    roll: float = 0.08
    tilted: float = 0.06
    """Share of people tilted any way: lying, falling, turning cartwheels."""


def orient(rotvecs: Tensor, viewpoints: Viewpoints, dice: Dice) -> Tensor:
    """Rotation vectors (N, 24, 3) -> matrices (N, 24, 3, 3), seen from random sides.

    The global orientation goes from the y-up world to the camera's frame (y down, z forward).
    Pitch and roll have mean zero: a mean other than zero makes standing people lean.
    """
    count = len(rotvecs)
    tilted = dice.happens(viewpoints.tilted, count)
    angles = torch.stack(
        [
            torch.where(tilted, dice.normal(count), viewpoints.pitch * dice.normal(count)),
            2 * math.pi * dice.uniform(count),
            torch.where(tilted, dice.normal(count), viewpoints.roll * dice.normal(count)),
        ],
        dim=1,
    )
    pitch, yaw, roll = (rotvec_to_rotmat(angles[:, [i]] * torch.eye(3)[i]) for i in range(3))
    rotations = rotvec_to_rotmat(rotvecs)
    to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotations[:, 0] = to_camera @ roll @ pitch @ yaw @ rotations[:, 0]
    return rotations
