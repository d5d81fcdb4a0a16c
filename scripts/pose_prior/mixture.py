"""Mixtures of Gaussians by expectation maximisation, one for each category."""

from typing import NamedTuple

import numpy as np
from scripts.pose_prior.captured import Captured, Vectors

_ITERATIONS = 40
_SHRINKING = 60.0
"""Poses that the category's own covariance counts for in each component's."""


class Mixture(NamedTuple):
    """K Gaussians of D numbers."""

    weights: Vectors
    """(K,)"""
    means: Vectors
    """(K, D)"""
    factors: Vectors
    """(K, D, D) lower triangles: Cholesky factors of the covariances."""

    def log_densities(self, vectors: Vectors) -> Vectors:
        """(N, K) of every component, with its weight."""
        columns = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            white = np.linalg.solve(factor, (vectors - mean).T)
            log_volume = np.log(np.diag(factor)).sum()
            size = vectors.shape[1] * np.log(2 * np.pi)
            columns.append(np.log(weight) - log_volume - 0.5 * (size + (white**2).sum(0)))
        return np.stack(columns, axis=1)


def log_sum_exp(values: Vectors) -> Vectors:
    """Over the last axis."""
    top = values.max(-1, keepdims=True)
    return np.log(np.exp(values - top).sum(-1)) + top[..., 0]


def fit_mixture(vectors: Vectors, count: int, rng: np.random.Generator, *, noise: float) -> Mixture:
    """`count` Gaussians of `vectors` (N, D), which have independent noise of `noise` added."""
    rows, size = vectors.shape
    floor = noise**2 * np.eye(size)
    own = np.cov(vectors.T) + floor
    means = vectors[rng.choice(rows, count, replace=False)]
    # A component begins with a part of the category's spread.
    factors = np.repeat(np.linalg.cholesky(own / 4 + floor)[None], count, axis=0)
    mixture = Mixture(np.full(count, 1 / count), means, factors)
    for _ in range(_ITERATIONS):
        log_densities = mixture.log_densities(vectors)
        shares = np.exp(log_densities - log_sum_exp(log_densities)[:, None])
        totals = shares.sum(0) + 1e-9
        means = shares.T @ vectors / totals[:, None]
        new = []
        for share, total, mean in zip(shares.T, totals, means, strict=True):
            centred = vectors - mean
            scatter = (centred * share[:, None]).T @ centred
            # The prior is the category's covariance with small off-diagonals: few poses have 72
            # numbers each.
            prior = 0.25 * np.diag(np.diag(own)) / count ** (2 / 10)
            covariance = (scatter + _SHRINKING * prior) / (total + _SHRINKING) + floor
            new.append(np.linalg.cholesky(covariance))
        mixture = Mixture(totals / totals.sum(), means, np.stack(new))
    return mixture


def fit_mixtures(
    captured: Captured, *, poses_each: int, most: int, noise: float
) -> dict[str, Mixture]:
    """A mixture for every category: one component for `poses_each` poses, at most `most`."""
    rng = np.random.default_rng(0)
    mixtures = {}
    for category in np.unique(captured.categories).tolist():
        vectors = captured.vectors[captured.categories == category]
        count = int(np.clip(len(vectors) // poses_each, 1, most))
        mixtures[category] = fit_mixture(vectors, count, rng, noise=noise)
    return mixtures
