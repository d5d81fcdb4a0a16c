"""Backbones by name, as configurations and bundles spell them."""

from collections.abc import Callable

from dualhmr.networks.backbone import Backbone
from dualhmr.networks.hrnet import HRNetW48Classification, HRNetW48Concatenated
from dualhmr.networks.keypoint_trunk import KeypointTrunk
from dualhmr.networks.resnet import ResNet50

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "keypoint_trunk": KeypointTrunk,
    "resnet50": ResNet50,
    "hrnet_w48_concatenated": HRNetW48Concatenated,
    "hrnet_w48_classification": HRNetW48Classification,
}


def build_backbone(name: str, **options: object) -> Backbone:
    """A new backbone with random weights; `options` go to its constructor.

    Raises ValueError for an unknown name and TypeError for an unknown option.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; known are {', '.join(sorted(BACKBONES))}")
    return BACKBONES[name](**options)
