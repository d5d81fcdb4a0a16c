"""Losses against a fixed target, each with its gradient: a number a person, and d number / d x.

Weights hold all that multiplies an error: the loss's weight, its divisor, confidences, and zero for
what is not known.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], tuple[Tensor, Tensor]]
"""What was made of the estimate (N, ...) -> losses (N,) and gradients (N, ...)."""


def squared_error(x: Tensor, *, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of squares; all (N, ...), the weights broadcast."""
    error = x - target
    weighted = weight * error
    return (weighted * error).flatten(1).sum(1), 2 * weighted


def absolute_error(x: Tensor, *, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of magnitudes; all (N, ...), the weights broadcast."""
    error = x - target
    return (weight * error.abs()).flatten(1).sum(1), weight * error.sign()


def scale_error(scale: Tensor, *, weight: float) -> tuple[Tensor, Tensor]:
    """exp(-10 s) squared, for the scale s (N, 1) of a crop camera."""
    weighted = weight * torch.exp(-20 * scale)
    return weighted[:, 0], -20 * weighted
