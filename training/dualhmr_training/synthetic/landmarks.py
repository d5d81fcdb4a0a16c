"""Where on the body at rest clothes and faces are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualhmr.body import JOINT_NAMES, Body, keypoint_regressor
from dualhmr.keypoints import BODY_23

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Landmarks:
    """Points of the body at rest, arms out. Metres; x left, y up, z front."""

    joints: dict[str, Array]
    """(3,) each, by SMPL's names."""
    keypoints: dict[str, Array]
    """(3,) each, by `BODY_23`'s names."""

    @classmethod
    def of(cls, body: Body) -> "Landmarks":
        """Those of the mean shape."""
        points = keypoint_regressor(body, BODY_23).from_mesh(body.v_template, body.joint_template)
        return cls(
            dict(zip(JOINT_NAMES, body.joint_template.numpy(), strict=True)),
            dict(zip(BODY_23.names, points.numpy(), strict=True)),
        )
