"""A template and ten shape directions from samples of bodies."""

from dataclasses import dataclass

import numpy as np
from scripts.free_body.kinematics import Array

BETAS = 10


@dataclass(frozen=True)
class ShapeBasis:
    """A mean body and how it varies, in metres.

    template: (V, 3); directions: (V, 3, 10), the offsets of one unit of each beta.
    """

    template: Array
    directions: Array

    def betas(self, vertices: Array) -> Array:
        """Least-squares betas (N, 10) of bodies (N, V, 3)."""
        directions = self.directions.reshape(-1, BETAS)
        offsets = (vertices - self.template).reshape(len(vertices), -1)
        betas: Array = np.linalg.solve(directions.T @ directions, directions.T @ offsets.T).T
        return betas

    def bodies(self, betas: Array) -> Array:
        """Vertices (N, V, 3) of betas (N, 10)."""
        offsets: Array = np.einsum("vck,nk->nvc", self.directions, betas)
        return self.template + offsets


def fit_shape_basis(adults: Array, population: Array) -> ShapeBasis:
    """A basis from adults (A, V, 3) and people of all ages (P, V, 3).

    The template is the mean adult, so that betas of zero are an ordinary grown-up, while
    the axes are the principal ones of everybody around that template: ten axes from adults
    alone leave 13 mm on children, and these lose 0.4 mm on adults. Each axis is scaled to
    the standard deviation of adults, so that betas of N(0, 1) draw adults. Two rejected
    choices: scaling by everybody makes betas of N(0, 1) span toddlers to giants, and
    turning the axes until adults' betas are uncorrelated too leaves axes along which
    adults hardly vary and children need betas of 27.

    A positive beta makes the body taller.
    """
    template = adults.mean(0)
    offsets = (population - template).reshape(len(population), -1)
    _, mixtures = np.linalg.eigh(offsets @ offsets.T)
    axes = mixtures[:, : -BETAS - 1 : -1].T @ offsets
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    highest, lowest = template[:, 1].argmax(), template[:, 1].argmin()
    heights = axes.reshape(BETAS, -1, 3)[:, [highest, lowest], 1]
    axes *= np.sign(heights[:, 0] - heights[:, 1])[:, None]
    adult_betas = (adults - template).reshape(len(adults), -1) @ axes.T
    directions = (axes * adult_betas.std(0)[:, None]).T.reshape(-1, 3, BETAS)
    return ShapeBasis(template, directions)
