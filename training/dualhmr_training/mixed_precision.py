"""Mixed precision where it helps: in the backbones."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dualhmr.networks import MeshRegressor


class MixedPrecisionRegressor(MeshRegressor):
    """A network whose backbone computes in bfloat16 while it trains; its weights stay float32.

    Head, body and losses stay in float32: an inner step changes the estimate by less than bfloat16
    can tell apart, and its eight bits are centimetres at the end of an arm. In evaluation mode
    everything is float32, as at test time.
    """

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As of `MeshRegressor`."""
        if not self.training:
            return super().encode(inputs)
        weight = self.head.fc1.weight
        with torch.autocast(weight.device.type, torch.bfloat16):
            features = super().encode(inputs)
        return features.to(weight.dtype)


def in_mixed_precision(network: MeshRegressor) -> MeshRegressor:
    """The same backbone and head, trained in mixed precision."""
    return MixedPrecisionRegressor(
        network.backbone, network.head, backbone_prefix=network.backbone_prefix
    )
