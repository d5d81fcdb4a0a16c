"""How alike two sets of keypoints are: COCO's object keypoint similarity (OKS)."""

import numpy as np
import numpy.typing as npt

from dualhmr.keypoints import COCO_17, KeypointSet

FloatArray = npt.NDArray[np.float32]

# COCO's, for annotators' differences; of both sides.
_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
_OTHER_SIGMA = 0.07
"""Of points that COCO does not have, as toes."""


def keypoint_similarity(
    keypoints: npt.NDArray[np.floating],
    reference: npt.NDArray[np.floating],
    *,
    weights: npt.NDArray[np.floating],
    area: float,
    keypoint_set: KeypointSet = COCO_17,
) -> npt.NDArray[np.float64]:
    """OKS (P,) in [0, 1] of keypoints (P, K, 2) with those (K, 2) of one person.

    `area` in square pixels is the person's (in COCO, of the mask); `weights` (K,) say how much each
    keypoint counts, 0 where the reference lacks it. Without any it is 0.
    """
    sigmas = np.array([_sigma(name) for name in keypoint_set.names])
    squared = ((keypoints - reference) ** 2).sum(-1)
    likeness = np.exp(-squared / (2 * max(area, 1.0) * (2 * sigmas) ** 2))
    total = float(weights.sum())
    return (likeness * weights).sum(-1) / total if total > 0 else np.zeros(len(keypoints))


def _sigma(name: str) -> float:
    side, _, part = name.partition("_")
    return _SIGMAS.get(part if side in ("left", "right") else name, _OTHER_SIGMA)
