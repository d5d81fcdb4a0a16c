"""How much each loss counts."""

from dataclasses import dataclass

WITHOUT_TARGET = frozenset({"keypoints_2d", "camera"})
"""The losses that need no mesh to compare with."""


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts; a loss of weight zero is not computed.

    The defaults are those of the Meta-HMR release.
    """

    keypoints_2d: float = 5.0
    joints_3d: float = 5.0
    vertices: float = 0.5
    rotations: float = 1.0
    betas: float = 0.001
    camera: float = 1.0
