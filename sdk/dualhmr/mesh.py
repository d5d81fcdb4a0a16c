"""Bodies in the camera's frame, as NumPy arrays: the way out of the tensors."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dualhmr.body import Body, skin

FloatArray = npt.NDArray[np.float32]


class StepTrace(NamedTuple):
    """One person's parameters at the start and after each of S - 1 steps."""

    rotations: FloatArray
    """(S, 24, 3, 3)."""
    betas: FloatArray
    """(S, 10)."""
    translation: FloatArray
    """(S, 3) metres."""


@torch.no_grad()
def place_bodies(
    body: Body, rotations: FloatArray, betas: FloatArray, translation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Vertices (N, V, 3) and joints (N, 24, 3) in the camera frame, metres.

    `rotations` (N, 24, 3, 3), `betas` (N, B), `translation` (N, 3) metres. Bodies are posed one by
    one, so that who else is there does not change the last digit of anybody.
    """
    device = body.v_template.device
    vertices, joints = [], []
    for person in range(len(rotations)):
        posed = skin(
            body,
            torch.from_numpy(rotations[person : person + 1]).to(device),
            torch.from_numpy(betas[person : person + 1]).to(device),
        )
        vertices.append(posed.vertices.cpu().numpy() + translation[person])
        joints.append(posed.joints.cpu().numpy() + translation[person])
    return np.concatenate(vertices), np.concatenate(joints)
