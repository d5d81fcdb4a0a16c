"""The measure of `structured.input_nodes` on nodes that a graph can find: a grid.

There the nodes are eigenvalues, for which ONNX has no operator. Here they are evenly spaced in
log x. What is to be summed over the inputs x_j = |c_j| is

    F(s) = sum_j x_j^(3/2) f(log x_j),    f(u) = e^(u/2) / (e^u s + floor),

and f, a hyperbolic secant of u wherever its peak may be, is analytic as far as pi away from the
real axis: so it is interpolated from a grid of step h up to about exp(-pi^2 / h), here by sincs
under a Gaussian. Each input thus lends its mass to the nodes near it.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from dualhmr.adaptation.structured.input_nodes import Nodes
from dualhmr.adaptation.structured.movable import Given

_STEP = 0.5
_REACH = 10
"""Nodes on either side that an input lends mass to; with the step, right to 2e-7."""
_WIDTH = 1.5 * _REACH / math.pi
"""The square of the Gaussian's standard deviation, in squared steps."""
_SMALLEST = 1e-8
"""Relative to the largest input; smaller ones hardly count."""


class SpreadGiven(Given):
    """What a head is given, its nodes on a grid."""

    @cached_property
    def nodes(self) -> Nodes:
        """What Adam needs to know of it."""
        return spread_nodes(self.values)


def spread_nodes(given: Tensor) -> Nodes:
    """Those of inputs `given` (N, 1, G), finite, of which not all may be zero."""
    inputs = given.squeeze(1).abs()
    largest = inputs.amax(-1, keepdim=True)
    relative = inputs / largest
    lowest = math.floor(math.log(_SMALLEST) / _STEP) - _REACH
    grid = torch.arange(lowest, _REACH + 1, dtype=given.dtype, device=given.device)
    # What is far below the grid lends nothing, whatever its logarithm.
    place = relative.clamp_min(_SMALLEST**3).log() / _STEP
    away = place[..., None] - grid
    lent = torch.sinc(away) * torch.exp(away.square() * (-0.5 / _WIDTH))
    points = torch.exp(grid * _STEP)
    masses = ((relative * relative.sqrt())[:, None] @ lent) * points.sqrt()
    return Nodes((largest * points)[:, None], masses * largest[..., None].square())
