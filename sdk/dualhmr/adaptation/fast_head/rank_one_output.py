"""The output of the matrix that reads the head's input, adapted in place of the matrix.

A matrix W whose input c never changes has gradients d c^T, so that Adam's moments are rank one:
m_aj = M_a c_j and v_aj = V_a c_j^2, with M and V the moments of d alone. An update changes the
output, k = W c, by

    -rate M_a F(sqrt V_a),    F(s) = sum_j c_j^2 / (|c_j| s + epsilon),

so that neither W nor its moments, the largest tensors of a head, are ever touched. F is a sum over
thousands of inputs; it is also the integral of x / (x s + epsilon) over the measure that has mass
|c_j| at x = |c_j|, and a Gauss rule computes it from a few nodes. The rule is rational: exact for
products of two among 1 and 1 / (x + p) with poles p spread evenly in log x, as the integrand is
such a function whatever s is. (A rule for polynomials, as Lanczos computes, is a hundred thousand
times less accurate.)
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.head_gradients import OuterProducts
from dualhmr.adaptation.optimisers import AdamCoefficients, Moments

_GRID_STEP = 0.5
_REACH = 10
"""Nodes on either side of an input that get a share of its mass; with the step, right to 2e-7."""
_WIDTH = 1.5 * _REACH / math.pi
"""The variance of the Gaussian, in squared steps."""
_SMALLEST = 1e-8
"""Relative to the largest input; smaller ones hardly count."""

_NODE_COUNT = 24
# Poles from 1e-8 to 10 times the largest input; smaller inputs hardly count in F.
_POLE_EXPONENTS = (-8.0, 1.0)


class QuadratureNodes(NamedTuple):
    """A measure on K nodes that stands for that of many inputs."""

    points: Tensor
    """(N, 1, K), like |c_j|."""
    masses: Tensor
    """(N, 1, K), like c_j^2."""

    def response(self, scale: Tensor, epsilon: float | Tensor) -> Tensor:
        """F (N, 1, H) at s = `scale` (N, 1, H), to about ten digits in double precision."""
        roots = self.points * scale.mT + epsilon
        tiny = torch.finfo(roots.dtype).tiny
        return (self.masses / roots.clamp_min(tiny)).sum(-1).unsqueeze(1)


def krylov_quadrature(values: Tensor) -> QuadratureNodes:
    """The nodes of inputs `values` (N, 1, G), finite and not all zero.

    With A = diag |c| and b = sqrt |c|, F is b^T A (A s + epsilon)^-1 b. Project A on the span of b
    and of (A + p)^-1 b for all poles p, with orthonormal basis Q: the nodes are the eigenvalues of
    Q^T A Q, and b's mass at a node is its squared coordinate along the eigenvector (rational
    Krylov; see Guettel, GAMM-Mitteilungen 36, 2013).
    """
    inputs = values.squeeze(1).double().abs()
    largest = inputs.amax(-1, keepdim=True)
    x = (inputs / largest).unsqueeze(-1)
    b = x.sqrt()
    poles = torch.logspace(*_POLE_EXPONENTS, _NODE_COUNT - 1, dtype=x.dtype, device=x.device)
    span = torch.cat([b, b / (x + poles)], dim=-1)
    basis = torch.linalg.qr(span / torch.linalg.vector_norm(span, dim=1, keepdim=True)).Q
    points, vectors = torch.linalg.eigh(basis.mT @ (x * basis))
    masses = (vectors.mT @ (basis.mT @ b)).squeeze(-1).square()
    # Rounding may leave a node slightly below zero.
    points = largest * points.clamp_min(0.0)
    nodes = QuadratureNodes(points.unsqueeze(1), (masses * points * largest).unsqueeze(1))
    return QuadratureNodes(*(part.to(values.dtype) for part in nodes))


def grid_quadrature(values: Tensor) -> QuadratureNodes:
    """Nodes on a grid for the inputs `values` (N, 1, G), finite and not all zero.

    Those of `krylov_quadrature` are eigenvalues, for which ONNX has no operator and a GPU waits.
    Here nodes are evenly spaced in log x. The sum over the inputs x_j = |c_j| is

        F(s) = sum_j x_j^(3/2) f(log x_j),    f(u) = e^(u/2) / (e^u s + epsilon),

    and f, a hyperbolic secant of u wherever its peak is, is analytic within pi of the real axis. So
    interpolation from a grid of step h has an error of about exp(-pi^2 / h); here it is by sincs
    under a Gaussian. In other words, each input's mass is shared among the nodes near it.
    """
    inputs = values.squeeze(1).abs()
    largest = inputs.amax(-1, keepdim=True)
    relative = inputs / largest
    lowest = math.floor(math.log(_SMALLEST) / _GRID_STEP) - _REACH
    grid = torch.arange(lowest, _REACH + 1, dtype=values.dtype, device=values.device)
    # Inputs far below the grid have no share in any node, whatever their logarithm.
    place = relative.clamp_min(_SMALLEST**3).log() / _GRID_STEP
    distance = place[..., None] - grid
    shares = torch.sinc(distance) * torch.exp(distance.square() * (-0.5 / _WIDTH))
    points = torch.exp(grid * _GRID_STEP)
    masses = ((relative * relative.sqrt())[:, None] @ shares) * points.sqrt()
    return QuadratureNodes((largest * points)[:, None], masses * largest[..., None].square())


class HeadInput:
    """What the head reads in every iteration alike: c and a 1, for the bias."""

    def __init__(self, head_input: Tensor) -> None:
        """`head_input` (N, G) is c: features, and box info for CLIFF."""
        ones = head_input.new_ones(len(head_input), 1)
        self.values = torch.cat([head_input.detach(), ones], dim=1).unsqueeze(1)
        """(N, 1, G + 1)."""
        self.squared_norm = self.values.square().sum(-1, keepdim=True)
        """(N, 1, 1)."""

    @cached_property
    def nodes(self) -> QuadratureNodes:
        """The nodes that Adam's update needs; computed at its first update."""
        return krylov_quadrature(self.values)


class GridQuadratureInput(HeadInput):
    """A head's input with nodes that a captured or exported graph can compute."""

    @cached_property
    def nodes(self) -> QuadratureNodes:
        """The nodes that Adam's update needs."""
        return grid_quadrature(self.values)


@dataclass(frozen=True)
class RankOneOutput:
    """k = W c (N, 1, H), adapted as if the matrix W (H, G + 1) were; E for H without hidden layers.

    W's gradient is d c^T, where d (N, 1, H) is that with respect to k.
    """

    value: Tensor
    head_input: HeadInput
    moments: Moments | None = None
    """Those of d, (N, 1, H); None before Adam's first update."""

    def reset(self) -> "RankOneOutput":
        """Without moments."""
        return replace(self, moments=None)

    def recycle(self) -> None:
        """Nothing to do: the tensors are small."""

    def gradient_step(self, gradient: OuterProducts, rate: float | Tensor) -> "RankOneOutput":
        """W changes by -rate d c^T, and so k by -rate d |c|^2."""
        change = rate * self.head_input.squared_norm * gradient.left
        return replace(self, value=self.value - change)

    def adam_step(self, gradient: OuterProducts, coefficients: AdamCoefficients) -> "RankOneOutput":
        """By the quadrature of F: see the top of this file."""
        zeros = torch.zeros_like(self.value)
        moments = (self.moments or Moments(zeros, zeros)).updated(gradient.left, coefficients)
        response = self.head_input.nodes.response(moments.root(), coefficients.epsilon)
        value = self.value - coefficients.rate * moments.first * response
        return replace(self, value=value, moments=moments)
