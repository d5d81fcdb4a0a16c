"""The releases' backbones with an eighth of the channels, where their size is not the point.

Layers, names and operations are those of the full networks; weights fill 1 MB instead of 300 MB.
"""

import pytest

from dualhmr.networks import (
    HMR2Features,
    HRNetW48Classification,
    HRNetW48Concatenated,
    ResNet50,
    hmr2,
    hrnet,
    resnet,
)

_SHARE = 8


def narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends, ResNet-50, HRNet-W48 and HMR2.0's networks are built narrow."""
    bottlenecks = resnet.bottlenecks

    def narrow_bottlenecks(inputs: int, planes: int, **options: int) -> object:
        stem = 64  # keeps its width
        inputs = inputs if inputs == stem else inputs // _SHARE
        return bottlenecks(inputs, planes // _SHARE, **options)

    monkeypatch.setattr(resnet, "bottlenecks", narrow_bottlenecks)
    for name in ("BRANCH_WIDTHS", "_CLASSIFICATION_PLANES"):
        widths = tuple(width // _SHARE for width in getattr(hrnet, name))
        monkeypatch.setattr(hrnet, name, widths)
    for name in ("_WIDTH", "_HIDDEN", "_QUERY_WIDTH", "_INNER"):
        monkeypatch.setattr(hmr2, name, getattr(hmr2, name) // _SHARE)
    for kind in (ResNet50, HRNetW48Concatenated, HRNetW48Classification, HMR2Features):
        monkeypatch.setattr(kind, "feature_count", kind.feature_count // _SHARE)
