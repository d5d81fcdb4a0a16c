"""Plain steps for every sample of a batch, without weights for every sample.

The gradient of one sample's loss with respect to a linear layer's weight is a sum of outer
products, one for each time the layer was used: d_k x_k^T, with x_k what went in and d_k the loss's
gradient at what came out. So the layer after steps of plain descent is, exactly,

    W' x + b' = W x + b - rate sum_k d_k (x_k . x + 1),

summed over the uses in all the steps, and a batch needs the d_k and x_k of its samples, not their
weights. The prototype found this 46 times faster than `torch.func.vmap` over whole weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from dualhmr.adaptation import GradientDescent
from dualhmr.networks import HeadOutput, RegressorHead
from dualhmr.schedules.optimisers import clip_scale


@dataclass
class _Layer:
    """A linear layer that notes how it was used, or that differs from sample to sample."""

    weight: Tensor
    bias: Tensor
    inputs: Tensor | None = None
    """(N, K, I) detached: of the K uses that the steps came from."""
    descents: Tensor | None = None
    """(N, K, O) the rate times the loss's gradient at these uses' outputs."""
    uses: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, read: Tensor) -> Tensor:
        """(N, I) -> (N, O)."""
        return self._noted(read, F.linear(read, self.weight, self.bias))

    def beside(self, given: Tensor) -> Callable[[Tensor], Tensor]:
        """The layer for reading (N, G) `given`, the same every time, and then (N, I - G) else.

        The share of `given`, by far the larger one, is computed once.
        """
        weight_given, weight = torch.tensor_split(self.weight, [given.shape[1]], dim=1)
        constant = F.linear(given, weight_given, self.bias)

        def layer(read: Tensor) -> Tensor:
            whole = torch.cat([given, read], dim=1)
            return self._noted(whole, constant + F.linear(read, weight))

        return layer

    def after(self, inputs: Tensor, descents: Tensor) -> "_Layer":
        """The layer after one more step, that came from uses like those of the class."""
        if self.inputs is not None and self.descents is not None:
            inputs = torch.cat([self.inputs, inputs], dim=1)
            descents = torch.cat([self.descents, descents], dim=1)
        return _Layer(self.weight, self.bias, inputs, descents)

    def _noted(self, read: Tensor, output: Tensor) -> Tensor:
        if self.inputs is not None and self.descents is not None:
            # Sums, not matrix products: these are slow where K is this small.
            alike = (self.inputs * read[:, None]).sum(2, keepdim=True) + 1
            output = output - (self.descents * alike).sum(1)
        self.uses.append((read, output))
        return output


def head_after_steps(
    head: RegressorHead,
    features: Tensor,
    box_info: Tensor | None,
    losses_of: Callable[[HeadOutput], Tensor],
    optimiser: GradientDescent,
    *,
    steps: int,
) -> HeadOutput:
    """What `head` puts out for each of N samples after steps on that sample's own loss.

    Equal to `adaptation_step` with `optimiser`, mapped over the samples: first order, the steps
    constants to whoever differentiates the result. `losses_of` takes an output of the head to one
    loss (N,) for each sample. Dropout would draw anew: the head must be in evaluation mode, or
    have none.
    """
    given = head.given(features, box_info)
    layers = _layers(head)
    for _ in range(steps):
        with torch.enable_grad():
            losses = losses_of(_run(head, given.detach(), layers))
            layers = _after_a_step(layers, losses, optimiser)
    return _run(head, given, layers)


def _layers(head: RegressorHead) -> list[_Layer]:
    """fc1, fc2 and the three decoders as one."""
    decoders = (head.decpose, head.decshape, head.deccam)
    weight = torch.cat([decoder.weight for decoder in decoders])
    bias = torch.cat([decoder.bias for decoder in decoders])
    return [
        _Layer(head.fc1.weight, head.fc1.bias),
        _Layer(head.fc2.weight, head.fc2.bias),
        _Layer(weight, bias),
    ]


def _run(head: RegressorHead, given: Tensor, layers: list[_Layer]) -> HeadOutput:
    first, second, decode = layers
    return head.iterate(
        len(given),
        first=first.beside(given),
        second=second,
        decode=decode,
    )


def _after_a_step(layers: list[_Layer], losses: Tensor, optimiser: GradientDescent) -> list[_Layer]:
    """Layers that were used to compute losses (N,), after a step down these."""
    outputs = [output for layer in layers for _, output in layer.uses]
    gradients = iter(torch.autograd.grad(losses.sum(), outputs))
    inputs = [torch.stack([read.detach() for read, _ in layer.uses], dim=1) for layer in layers]
    slopes = [torch.stack([next(gradients) for _ in layer.uses], dim=1) for layer in layers]
    rate = optimiser.learning_rate * _clipping(inputs, slopes, optimiser.max_norm)
    return [
        layer.after(read, rate[:, None, None] * slope)
        for layer, read, slope in zip(layers, inputs, slopes, strict=True)
    ]


def _clipping(inputs: list[Tensor], slopes: list[Tensor], max_norm: float | None) -> Tensor:
    """(N,) what every sample's gradient is scaled by; its length comes from Gram matrices."""
    if max_norm is None:
        return torch.ones_like(slopes[0][:, 0, 0])
    squared = torch.stack(
        [
            ((read @ read.mT + 1) * (slope @ slope.mT)).sum((1, 2))
            for read, slope in zip(inputs, slopes, strict=True)
        ]
    ).sum(0)
    return clip_scale(squared, max_norm)
