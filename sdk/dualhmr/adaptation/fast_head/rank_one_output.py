"""What a rank-one gradient does to a layer's output under Adam, at the cost of a few nodes.

A matrix W whose input c never changes has gradients d c^T, so that Adam's moments are rank one:
m_aj = M_a c_j and v_aj = V_a c_j^2, with M and V the moments of d alone. An update changes what
the matrix puts out, k = W c, by

    -rate M_a F(sqrt V_a),    F(s) = sum_j c_j^2 / (|c_j| s + floor),

so that neither W nor its moments need ever be touched. F is a sum over thousands of inputs;
it is an integral of x / (x s + floor) over the measure that has mass |c_j| at x = |c_j|, and a
Gauss rule gets it right from a few nodes. The rule is rational: exact for products of two among
1 and 1 / (x + p) with poles p spread evenly in log x, as the integrand is such a function whatever
s is. (One for polynomials, which Lanczos would give, is a hundred thousand times less accurate.)
"""

from typing import NamedTuple

import torch
from torch import Tensor

_COUNT = 24
# From 1e-8 to 10 times the largest input; inputs smaller than that hardly count.
_POLE_EXPONENTS = (-8.0, 1.0)


class Nodes(NamedTuple):
    """A measure on K nodes that stands for that of many inputs."""

    points: Tensor
    """(N, 1, K), like |c_j|."""
    masses: Tensor
    """(N, 1, K), like c_j^2."""

    def response(self, scale: Tensor, floor: float | Tensor) -> Tensor:
        """F (N, 1, H) at s = `scale` (N, 1, H), to about ten digits in double precision."""
        roots = self.points * scale.mT + floor
        tiny = torch.finfo(roots.dtype).tiny
        return (self.masses / roots.clamp_min(tiny)).sum(-1).unsqueeze(1)


def input_nodes(given: Tensor) -> Nodes:
    """Those of inputs `given` (N, 1, G), finite, of which not all may be zero.

    With A = diag |c| and b = sqrt |c|, F is b^T A (A s + floor)^-1 b. Project A on the span of b
    and of (A + p)^-1 b for all poles p, with orthonormal basis Q: the nodes are the eigenvalues of
    Q^T A Q, and b's mass at a node is its squared coordinate along the eigenvector (rational
    Krylov; see Guettel, GAMM-Mitteilungen 36, 2013).
    """
    inputs = given.squeeze(1).double().abs()
    largest = inputs.amax(-1, keepdim=True)
    x = (inputs / largest).unsqueeze(-1)
    b = x.sqrt()
    poles = torch.logspace(*_POLE_EXPONENTS, _COUNT - 1, dtype=x.dtype, device=x.device)
    span = torch.cat([b, b / (x + poles)], dim=-1)
    basis = torch.linalg.qr(span / torch.linalg.vector_norm(span, dim=1, keepdim=True)).Q
    points, vectors = torch.linalg.eigh(basis.mT @ (x * basis))
    masses = (vectors.mT @ (basis.mT @ b)).squeeze(-1).square()
    # Rounding may leave a node a hair below zero.
    points = largest * points.clamp_min(0.0)
    nodes = Nodes(points.unsqueeze(1), (masses * points * largest).unsqueeze(1))
    return Nodes(*(part.to(given.dtype) for part in nodes))
