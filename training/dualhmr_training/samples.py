"""One person of a data set, as training sees them. What is not annotated is masked, not zero."""

from typing import NamedTuple

from torch import Tensor

from dualhmr.camera import View


class Sample(NamedTuple):
    """A person, or a batch of N of them with the person axis first, as a `DataLoader` makes it.

    2D keypoints are the release's 49: OpenPose's 25 (`BODY_25`), then the 24 that data sets
    annotate (`SPIN_24`).
    """

    image: Tensor
    """(256, 192, 3) uint8 RGB crop."""
    keypoints: Tensor
    """(49, 2) normalised crop coordinates."""
    confidence: Tensor
    """(49,) zero where a keypoint is not annotated."""
    joints_3d: Tensor
    """(24, 3) metres, `SPIN_24`, camera orientation, wherever the data set put the origin."""
    joints_3d_confidence: Tensor
    """(24,) zero where a joint is not annotated."""
    rotvecs: Tensor
    """(24, 3) radians, SMPL's pose; joint 0 is the orientation before the camera."""
    betas: Tensor
    """(10,)."""
    has_mesh: Tensor
    """() bool: whether `rotvecs` and `betas` are annotated."""
    gender: Tensor
    """() 1 (male) or 2 (female) where `betas` are of that gender's body, 0 of the neutral one."""
    view: View
    """In pixels of the photograph as it was read, mirrored and turned like the person."""
