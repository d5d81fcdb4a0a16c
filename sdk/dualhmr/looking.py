"""Running the frozen networks for a person, once."""

import numpy as np
import numpy.typing as npt

from dualhmr.camera import image_to_crop
from dualhmr.engines import FrozenNetworks
from dualhmr.inputs import network_inputs
from dualhmr.keypoints import own_keypoints
from dualhmr.manifest import Manifest
from dualhmr.person import PersonEvidence, PersonView


def look(
    image: npt.NDArray[np.uint8], seen: PersonView, networks: FrozenNetworks, manifest: Manifest
) -> PersonEvidence:
    """Runs both frozen networks, which `manifest` describes, on one person of `image` (H, W, 3)."""
    crop_keypoints = image_to_crop(seen.xy, seen.view)
    inputs = network_inputs(
        image,
        seen.view,
        crop_keypoints,
        seen.confidence,
        source=seen.keypoint_set,
        own=own_keypoints(manifest.keypoint_set).set,
        read={*networks.backbone.reads, *networks.auxiliary.reads},
    )
    features = networks.backbone(inputs)["features"]
    pseudo = networks.auxiliary(inputs)
    return PersonEvidence(
        seen, crop_keypoints, inputs, features, pseudo["rotations"], pseudo["betas"]
    )
