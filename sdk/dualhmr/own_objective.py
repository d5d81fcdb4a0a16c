"""The objective of networks that have one of the named keypoint sets for their own."""

from dualhmr.body import Body, PointRegressor, keypoint_regressor, skeleton_regressor
from dualhmr.keypoints import KeypointSet
from dualhmr.losses import LossWeights
from dualhmr.objective import Objective


def own_objective(
    body: Body,
    own: KeypointSet,
    *,
    camera: str,
    weights: LossWeights,
    keypoints: PointRegressor | None = None,
) -> Objective:
    """That of networks whose own keypoint set is `own`, in training and at test time alike.

    3D joints are the 24 of the skeleton, then the points of `own`. Evidence holds the points
    `keypoints`, or those of `own` if left out. Raises ValueError for an unknown camera convention,
    or a body without the vertices that `own` takes.
    """
    own_points = keypoint_regressor(body, own)
    return Objective(
        body,
        keypoints=keypoints or own_points,
        keypoint_count=len(own),
        camera=camera,
        weights=weights,
        joints=skeleton_regressor(body) + own_points,
    )
