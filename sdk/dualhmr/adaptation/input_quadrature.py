"""The output of the matrix that reads the head's input, adapted in place of the matrix; in NumPy.

`dualhmr.adaptation.fast_head.rank_one_output` has the derivation: with s the root of Adam's second
moment, an update needs

    F(s) = sum_j c_j^2 / (|c_j| s + epsilon),

which is computed from nodes on a grid in log |c_j| as by `grid_quadrature` there. The grid is finer
and reaches farther here: nodes are cheap on a CPU, and results are then right to eight digits.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.compiled_loops import response, update_matrix
from dualhmr.adaptation.optimisers import AdamCoefficients

_GRID_STEP = 0.4
_REACH = 18
"""Nodes on either side of an input that get a share of its mass; with the step, right to 1e-8."""
_WIDTH = 1.5 * _REACH / math.pi
"""The variance of the Gaussian, in squared steps."""
_SMALLEST = 1e-8
"""Relative to the largest input; smaller ones hardly count."""
_LOWEST = math.floor(math.log(_SMALLEST) / _GRID_STEP) - _REACH
_GRID = np.arange(_LOWEST, _REACH + 1)

Array = npt.NDArray[Any]


def grid_quadrature(inputs: Array) -> tuple[Array, Array]:
    """Points, like |c_j|, and masses, like c_j^2, of nodes for the inputs (G,), not all zero."""
    magnitudes = abs(inputs).astype(np.float64)
    largest = magnitudes.max()
    relative = magnitudes[magnitudes > _SMALLEST * largest] / largest
    place = np.log(relative) / _GRID_STEP
    nearest = np.rint(place)
    offset = place - nearest
    # sin pi (o - i) is the same for all integers i, up to its sign.
    near = np.arange(-_REACH, _REACH + 1)
    distance = offset[:, None] - near
    sine = np.sin(math.pi * offset)[:, None] * (1 - 2 * (near & 1))
    at_node = abs(distance) < 1e-9
    sinc = np.where(at_node, 1, sine / np.where(at_node, 1, math.pi * distance))
    shares = sinc * np.exp(distance * distance * (-0.5 / _WIDTH))
    nodes = (nearest[:, None] + near - _LOWEST).astype(np.int64)
    masses = np.bincount(
        nodes.ravel(), ((relative**1.5)[:, None] * shares).ravel(), minlength=len(_GRID)
    )
    points = np.exp(_GRID * _GRID_STEP)
    masses = masses * np.sqrt(points) * largest * largest
    return (largest * points).astype(inputs.dtype), masses.astype(inputs.dtype)


class _Update(NamedTuple):
    """W changes by -rate m_h c_j / (s_h |c_j| + epsilon)."""

    first: Array
    """m (H,)."""
    scale: Array
    """s (H,)."""
    rate: float
    epsilon: float


class InputOutput:
    """k = W c (H,), adapted as if the matrix W (H, G + 1) were; c has a 1 for the bias."""

    def __init__(self, matrix: Array, values: Array) -> None:
        """`values` (G + 1,) are c."""
        self.value = matrix @ values
        self.squared_norm = float(values @ values)
        self._values = values
        self._nodes: tuple[Array, Array] | None = None
        self._first = self._second = np.zeros(0)
        self._updates: list[_Update] = []

    def write_to(self, matrix: Array, steps: int) -> None:
        """Makes W before the first update, in place, what it is after `steps` updates."""
        for update in self._updates[:steps]:
            update_matrix(matrix, self._values, *update)

    def descend(self, gradient: Array, rate: float) -> None:
        """W changes by -rate d c^T, and so k by -rate d |c|^2; `gradient` (H,) is d."""
        self._updates.append(_Update(gradient, np.zeros_like(gradient), rate, 1.0))
        self.value = self.value - gradient.dtype.type(rate * self.squared_norm) * gradient

    def adam_step(self, gradient: Array, coefficients: AdamCoefficients, *, fresh: bool) -> None:
        """k changes by -rate M F(root V), with the moments M and V of d; zero before if `fresh`."""
        if self._nodes is None:
            self._nodes = grid_quadrature(self._values)
        if fresh:
            self._first, self._second = np.zeros_like(gradient), np.zeros_like(gradient)
        real = gradient.dtype.type
        beta1, beta2, rate, epsilon = coefficients
        self._first = real(beta1) * self._first + real(1 - beta1) * gradient
        self._second = real(beta2) * self._second + real(1 - beta2) * gradient * gradient
        floors = np.array([epsilon, np.finfo(real).tiny], real)
        scale = np.sqrt(np.maximum(self._second, floors[1]))
        responses = np.zeros_like(gradient)
        response(*self._nodes, scale, floors, responses)
        self._updates.append(_Update(self._first, scale, float(rate), float(epsilon)))
        self.value = self.value - real(rate) * self._first * responses
