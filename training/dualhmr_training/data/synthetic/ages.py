"""Shapes of people of all ages: the free body's own distribution of betas."""

from functools import lru_cache
from importlib import resources

import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.untrusted import read_npz
from dualhmr_training.data.synthetic.poses import SeededRandom

_FREE_BODY = "dualhmr-free-body"
_LARGEST_BYTES = 1 << 24
# Of the first beta, which is nearly height: 0.1 m each. From a child of two to somebody of 2 m.
_SMALLEST, _TALLEST = -8.0, 3.0


def betas_of_all_ages(body: Body, count: int, rng: SeededRandom) -> Tensor:
    """Betas (count, 10) of people of all ages, as the free body's `population_beta_*` say.

    Their heights are about 1.6 m, with a standard deviation of 0.24 m. Raises ValueError for
    another body, whose betas mean other things.
    """
    if body.name != _FREE_BODY:
        raise ValueError(
            f"the betas of {body.name!r} have no known distribution over ages; set "
            "--population.all_ages 0"
        )
    mean, factor = _distribution()
    betas = mean + rng.normal(count, len(mean)) @ factor.T
    betas[:, 0].clamp_(_SMALLEST, _TALLEST)
    return betas


@lru_cache(maxsize=1)
def _distribution() -> tuple[Tensor, Tensor]:
    """Mean (10,) and Cholesky factor (10, 10)."""
    names = ("population_beta_mean", "population_beta_covariance")
    with resources.as_file(resources.files("dualhmr") / "assets" / "free_body.npz") as path:
        arrays = read_npz(path, names, limit_bytes=_LARGEST_BYTES)
    mean, covariance = (torch.from_numpy(arrays[name]) for name in names)
    return mean.float(), torch.linalg.cholesky(covariance.double()).float()
