"""Plain steps of the head for every sample of a batch, in the low-rank form of its layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dualhmr.adaptation import GradientDescent
from dualhmr.networks import HeadOutput, MeshRegressor, RegressorHead
from dualhmr_training.low_rank_layers import Layer, LinearGradient, after_steps


def head_after_steps(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    losses_of: Callable[[HeadOutput], Tensor],
    optimiser: GradientDescent,
    *,
    steps: int,
) -> HeadOutput:
    """What `network` puts out for each of N samples after its head's steps on that sample's loss.

    Equal to `adaptation_step` with `optimiser`, mapped over the samples: first order, the steps
    constants to whoever differentiates the result. `losses_of` takes what is put out to one loss
    (N,) for each sample. Dropout would draw anew: the head must be in evaluation mode, or have
    none.
    """
    head = LowRankHead(network.head)
    given = head.given(network.encode(inputs), inputs)
    constant = given.detach()
    layers = after_steps(
        head.layers(),
        lambda layers: losses_of(head.run(constant, layers)),
        optimiser,
        steps=steps,
    )
    return head.run(given, layers)


class LowRankHead:
    """A head whose layers differ from sample to sample."""

    def __init__(self, head: RegressorHead) -> None:
        self._head = head
        decoders = (head.decpose, head.decshape, head.deccam)
        self._decoder = torch.cat([decoder.weight for decoder in decoders])
        self._decoder_bias = torch.cat([decoder.bias for decoder in decoders])

    def layers(self) -> list[Layer]:
        """As they are before all steps: fc1, fc2 and the three decoders as one."""
        return [Layer(LinearGradient) for _ in range(3)]

    def given(self, features: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """(N, G): what the head reads, of features (N, F) and inputs, and no round changes."""
        box_info = inputs["box_info"] if self._head.reads_box_info else None
        return self._head.given(features, box_info)

    def run(self, given: Tensor, layers: list[Layer]) -> HeadOutput:
        """What the head puts out where its layers are these."""
        first, second, decode = layers
        fc1, fc2 = self._head.fc1, self._head.fc2
        weight_given, weight = torch.tensor_split(fc1.weight, [given.shape[1]], dim=1)
        # The share of what no round changes, by far the larger one, is computed once.
        constant = F.linear(given, weight_given, fc1.bias)

        def read_estimate(estimate: Tensor) -> Tensor:
            whole = torch.cat([given, estimate], dim=1)
            return first.noted(whole, constant + F.linear(estimate, weight))

        def decoded(hidden: Tensor) -> Tensor:
            correction = F.linear(hidden, self._decoder, self._decoder_bias)
            return decode.noted(hidden, correction)

        return self._head.iterate(
            len(given),
            first=read_estimate,
            second=lambda hidden: second.noted(hidden, fc2(hidden)),
            decode=decoded,
        )
