"""Use a detector's arrays: coordinates (P, K, 2) and scores (P, K), in a keypoint order of its own.

Run: python examples/own_detector.py
For a set that dualhmr knows (COCO-17, BODY_25, Halpe-26, COCO-WholeBody) leave `keypoint_set` out:
`recoverer.recover(image, xy, scores=scores)` takes what rtmlib returns.
"""

import numpy as np

import dualhmr
from dualhmr.example import example
from dualhmr.keypoints import MIN_CONFIDENCE

# A keypoint has the same name in every set: names are how a new set meets the body and networks.
LIMBS = dualhmr.KeypointSet(
    "limbs_12",
    tuple(
        f"{side}_{joint}"
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)

# In place of a detector: the example's annotated keypoints, in the order of LIMBS.
image, annotated = example()
rows = [annotated.set.index(name) for name in LIMBS.names]
xy = annotated.xy[:, rows]
scores = np.where(annotated.confidence[:, rows] > 0, 0.9, 0.1)  # low: the detector only guesses

recoverer = dualhmr.Recoverer()
recovery = recoverer.recover(image, xy, scores=scores, keypoint_set=LIMBS)
for name, score, detected, own in zip(
    LIMBS.names, scores[0], xy[0], recovery.keypoints_2d[0], strict=True
):
    seen = f"detected at {detected.round()}" if score > MIN_CONFIDENCE else "not detected"
    print(f"{name:15} {seen}, the body's at {own.round()}")
