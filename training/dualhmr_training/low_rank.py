"""Layers that steps of plain descent have changed for every sample, without weights for every one.

The gradient of one sample's loss with respect to a linear layer's weight is a sum of outer
products, one for each time the layer was used: d_k x_k^T, with x_k the layer's input and d_k the
gradient of the loss with respect to its output. So the layer after steps of plain descent is,
exactly,

    W' x + b' = W x + b - rate sum_k d_k (x_k . x + 1),

summed over the uses in all the steps, and a batch needs the d_k and x_k of its samples, not their
weights. A prototype was 46 times faster with this than with `torch.func.vmap` over whole weights.
The scale and shift of a layer norm are no larger than its output: their gradients are kept whole.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualhmr.adaptation.optimisers import GradientDescent, clip_scale
from dualhmr.networks import HeadOutput, KeypointTrunk, MeshRegressor, RegressorHead


class Gradient(Protocol):
    """Those of N samples' own losses, with respect to one layer's parameters."""

    def squared_length(self) -> Tensor:
        """(N,)."""
        ...

    def applied(self, read: Tensor) -> Tensor:
        """The output (N, O) for inputs (N, I) of a layer whose parameters are the gradients."""
        ...


@dataclass(frozen=True)
class LinearGradient:
    """Of a linear layer's weight and bias, from K uses."""

    inputs: Tensor
    """(N, K, I)."""
    output_gradients: Tensor
    """(N, K, O), the gradients of the losses with respect to the layer's outputs."""

    def squared_length(self) -> Tensor:
        """(N,), from Gram matrices."""
        alike = self.inputs @ self.inputs.mT + 1
        return (alike * (self.output_gradients @ self.output_gradients.mT)).sum((1, 2))

    def applied(self, read: Tensor) -> Tensor:
        """(N, I) -> (N, O)."""
        # Sums, not matrix products: these are slow where K is this small.
        alike = (self.inputs * read[:, None]).sum(2, keepdim=True) + 1
        return (self.output_gradients * alike).sum(1)


class NormGradient:
    """Of a layer norm's scale and shift, from K uses; inputs are those already normalised.

    Both arguments are (N, K, I), as of `LinearGradient`.
    """

    def __init__(self, inputs: Tensor, output_gradients: Tensor) -> None:
        self._scale = (inputs * output_gradients).sum(1)
        self._shift = output_gradients.sum(1)

    def squared_length(self) -> Tensor:
        """(N,)."""
        return (self._scale.square() + self._shift.square()).sum(1)

    def applied(self, read: Tensor) -> Tensor:
        """(N, I) -> (N, I)."""
        return torch.addcmul(self._shift, self._scale, read)


@dataclass
class Layer:
    """A layer as it is for each of N samples after some steps, which notes how it is used."""

    gradient: Callable[[Tensor, Tensor], Gradient]
    """From inputs (N, K, I) and output gradients (N, K, O) of K uses."""
    descents: tuple[tuple[Tensor, Gradient], ...] = ()
    """Of every step the rates (N, 1) and the gradients."""
    uses: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def noted(self, read: Tensor, output: Tensor) -> Tensor:
        """What comes out for (N, I) `read`, where before all steps it was (N, O) `output`."""
        for rates, gradient in self.descents:
            output = output - rates * gradient.applied(read)
        self.uses.append((read, output))
        return output


def after_steps(
    layers: list[Layer],
    losses_with: Callable[[list[Layer]], Tensor],
    optimiser: GradientDescent,
    *,
    steps: int,
) -> list[Layer]:
    """The layers after steps down each of N samples' own loss.

    `losses_with` calls all of these layers and returns losses (N,). First order: gradients of the
    layers' outputs treat the steps as constants.
    """
    for _ in range(steps):
        with torch.enable_grad():
            layers = _after_a_step(layers, losses_with(layers), optimiser)
    return layers


def _after_a_step(layers: list[Layer], losses: Tensor, optimiser: GradientDescent) -> list[Layer]:
    outputs = [output for layer in layers for _, output in layer.uses]
    output_gradients = iter(torch.autograd.grad(losses.sum(), outputs))
    gradients = [
        layer.gradient(
            torch.stack([read.detach() for read, _ in layer.uses], dim=1),
            torch.stack([next(output_gradients) for _ in layer.uses], dim=1),
        )
        for layer in layers
    ]
    rates = torch.full_like(losses.detach(), optimiser.learning_rate)
    if optimiser.max_norm is not None:
        squared = torch.stack([gradient.squared_length() for gradient in gradients]).sum(0)
        rates = rates * clip_scale(squared, optimiser.max_norm)
    return [
        Layer(layer.gradient, (*layer.descents, (rates[:, None], gradient)))
        for layer, gradient in zip(layers, gradients, strict=True)
    ]


def head_after_steps(
    network: MeshRegressor,
    inputs: dict[str, Tensor],
    losses_of: Callable[[HeadOutput], Tensor],
    optimiser: GradientDescent,
    *,
    steps: int,
) -> HeadOutput:
    """The output of `network` for each of N samples after its head's steps on that sample's loss.

    Equal to `adaptation_step` with `optimiser`, mapped over the samples. First order: gradients of
    the result treat the steps as constants. `losses_of` maps the output to losses (N,). Dropout
    would draw anew in every pass: the head must be in evaluation mode, or have none.
    """
    head = LowRankHead(network.head)
    head_input = head.head_input(network.encode(inputs), inputs)
    constant = head_input.detach()
    layers = after_steps(
        head.layers(),
        lambda layers: losses_of(head.run(constant, layers)),
        optimiser,
        steps=steps,
    )
    return head.run(head_input, layers)


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

    def head_input(self, features: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """The head's constant input (N, G): features (N, F), and box info where it reads that."""
        box_info = inputs["box_info"] if self._head.reads_box_info else None
        return self._head.head_input(features, box_info)

    def run(self, head_input: Tensor, layers: list[Layer]) -> HeadOutput:
        """The head's output with these layers."""
        first, second, decode = layers
        fc1, fc2 = self._head.fc1, self._head.fc2
        constant_weight, weight = torch.tensor_split(fc1.weight, [head_input.shape[1]], dim=1)
        # All columns but the estimate's are the same in every iteration: multiply them once.
        constant = F.linear(head_input, constant_weight, fc1.bias)

        def read_estimate(estimate: Tensor) -> Tensor:
            whole = torch.cat([head_input, estimate], dim=1)
            return first.noted(whole, constant + F.linear(estimate, weight))

        def decoded(hidden: Tensor) -> Tensor:
            correction = F.linear(hidden, self._decoder, self._decoder_bias)
            return decode.noted(hidden, correction)

        return self._head.iterate(
            len(head_input),
            first=read_estimate,
            second=lambda hidden: second.noted(hidden, fc2(hidden)),
            decode=decoded,
        )


_Kind = nn.Linear | nn.LayerNorm


def has_low_rank_form(network: MeshRegressor) -> bool:
    """Whether `network_after_steps` takes the network.

    By its class: the layers must be linear or layer norms, read (N, I), and do so by being called.
    Nothing else about a backbone shows that its layers are.
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
    """The output of `network` for each of N samples after steps on that sample's own loss.

    As `head_after_steps`, but of the backbone's parameters too.
    """
    head = LowRankHead(network.head)
    parts = [part for part in network.backbone.modules() if isinstance(part, _Kind)]
    layers = [*head.layers(), *(Layer(_gradient(part)) for part in parts)]
    own = len(layers) - len(parts)

    def run(layers: list[Layer]) -> HeadOutput:
        with _replaced(parts, layers[own:]):
            features = network.encode(inputs)
        return head.run(head.head_input(features, inputs), layers[:own])

    return run(after_steps(layers, lambda layers: losses_of(run(layers)), optimiser, steps=steps))


def _gradient(part: _Kind) -> type[LinearGradient] | type[NormGradient]:
    return LinearGradient if isinstance(part, nn.Linear) else NormGradient


@contextmanager
def _replaced(parts: list[_Kind], layers: list[Layer]) -> Iterator[None]:
    """Within the context, calling a part returns the output of its layer."""
    with ExitStack() as stack:
        for part, layer in zip(parts, layers, strict=True):
            stack.enter_context(part.register_forward_hook(_hook(layer)))
        yield


def _hook(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def replace(part: nn.Module, read: tuple[Tensor, ...], output: Tensor) -> Tensor:
        layer_input = read[0]
        if isinstance(part, nn.LayerNorm):
            layer_input = F.layer_norm(layer_input, part.normalized_shape, eps=part.eps)
        return layer.noted(layer_input, output)

    return replace
