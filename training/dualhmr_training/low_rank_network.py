"""Plain steps of all parameters for every sample of a batch, in the low-rank form of the layers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch.nn.functional as F
from torch import Tensor, nn

from dualhmr.adaptation import GradientDescent
from dualhmr.networks import HeadOutput, KeypointTrunk, MeshRegressor
from dualhmr_training.low_rank import LowRankHead
from dualhmr_training.low_rank_layers import Layer, LinearGradient, NormGradient, after_steps

_Kind = nn.Linear | nn.LayerNorm


def has_low_rank_form(network: MeshRegressor) -> bool:
    """Whether `network_after_steps` takes the network.

    By its class: the layers must be linear or layer norms, read (N, I), and do so by being called.
    That another backbone's are cannot be told from outside.
    """
    return isinstance(network.backbone, KeypointTrunk)


def network_after_steps(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    losses_of: Callable[[HeadOutput], Tensor],
    optimiser: GradientDescent,
    *,
    steps: int,
) -> HeadOutput:
    """What `network` puts out for each of N samples after steps on that sample's own loss.

    As `head_after_steps`, but of the backbone's parameters too.
    """
    head = LowRankHead(network.head)
    parts = [part for part in network.backbone.modules() if isinstance(part, _Kind)]
    layers = [*head.layers(), *(Layer(_gradient(part)) for part in parts)]
    own = len(layers) - len(parts)

    def run(layers: list[Layer]) -> HeadOutput:
        with _replaced(parts, layers[own:]):
            features = network.encode(inputs)
        return head.run(head.given(features, inputs), layers[:own])

    return run(after_steps(layers, lambda layers: losses_of(run(layers)), optimiser, steps=steps))


def _gradient(part: _Kind) -> type[LinearGradient] | type[NormGradient]:
    return LinearGradient if isinstance(part, nn.Linear) else NormGradient


@contextmanager
def _replaced(parts: list[_Kind], layers: list[Layer]) -> Iterator[None]:
    """Within, calling one of the parts gives what its layer puts out."""
    with ExitStack() as stack:
        for part, layer in zip(parts, layers, strict=True):
            stack.enter_context(part.register_forward_hook(_hook(layer)))
        yield


def _hook(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def replace(part: nn.Module, read: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = read[0]
        if isinstance(part, nn.LayerNorm):
            given = F.layer_norm(given, part.normalized_shape, eps=part.eps)
        return layer.noted(given, output)

    return replace
