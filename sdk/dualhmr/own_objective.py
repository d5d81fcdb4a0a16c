"""The objective of networks by the keypoints that they were trained to fit."""

from dualhmr.body import Body, PointRegressor, keypoint_regressor, skeleton_regressor
from dualhmr.keypoints import own_keypoints
from dualhmr.loss_weights import LossWeights
from dualhmr.objective import Objective


def own_objective(
    body: Body,
    own: str,
    *,
    camera: str,
    weights: LossWeights,
    keypoints: PointRegressor | None = None,
) -> Objective:
    """That of networks whose own keypoints are those called `own`, see `own_keypoints`.

    3D joints are the 24 of the skeleton, then the points of `own`. Evidence holds the points
    `keypoints`, or those of `own` if left out. Raises ValueError for an unknown name or camera
    convention, or a body without the vertices that `own` takes.
    """
    known = own_keypoints(own)
    own_points = keypoint_regressor(body, known.set)
    return Objective(
        body,
        keypoints=keypoints or own_points,
        keypoint_count=known.count,
        camera=camera,
        weights=weights,
        joints=skeleton_regressor(body) + own_points,
    )
