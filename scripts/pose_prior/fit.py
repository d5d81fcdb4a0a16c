"""Fits the prior, compares it with a flow on clips that both leave out, and writes the asset.

python -m scripts.pose_prior.fit --poses A.npz B.npz [--compare]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scripts.pose_prior.captured import Captured, Vectors, held_out, read_captured
from scripts.pose_prior.flow import fit_flow
from scripts.pose_prior.mixture import Mixture, fit_mixtures, log_sum_exp

from dualhmr_training.data.synthetic.pose_limits import (
    LIMIT_SLACK_DEGREES,
    OVERLAP_SLACK_M,
    limb_overlap_m,
    limit_excess,
)
from dualhmr_training.data.synthetic.pose_prior import PosePrior, from_vectors, write_pose_prior

_NOISE = 0.05
"""Radians, added to every number in fitting and in comparing: joints that never move in some
captures would have an infinite density."""
_POSES_EACH, _MOST = 150, 16
_COMPARED_SAMPLES = 400
_ASSET = Path(__file__).parents[2] / "training" / "dualhmr_training" / "assets" / "pose_prior.npz"


def as_prior(mixtures: dict[str, Mixture]) -> PosePrior:
    """One prior of all categories. Covariances lose the noise that fitting added."""
    counts = [len(mixture.weights) for mixture in mixtures.values()]
    factors = np.concatenate([mixture.factors for mixture in mixtures.values()])
    covariances = factors @ factors.swapaxes(1, 2)
    values, axes = np.linalg.eigh(covariances)
    values = np.sqrt((values - _NOISE**2).clip(1e-6))
    # Any square root of the covariance will do; the triangle is half the size.
    triangles = np.asarray(np.linalg.qr((axes * values[:, None]).swapaxes(1, 2), mode="r"))
    return PosePrior(
        categories=tuple(mixtures),
        category=np.repeat(np.arange(len(counts)), counts),
        weights=np.concatenate([mixture.weights for mixture in mixtures.values()], dtype="f4"),
        means=np.concatenate([mixture.means for mixture in mixtures.values()], dtype="f4"),
        factors=triangles.swapaxes(1, 2).astype("f4"),
    )


def compare(captured: Captured) -> None:
    """Prints densities of held-out clips and faults of samples: one Gaussian, mixtures, a flow."""
    left_out = held_out(captured)
    fitted, watched = captured.only(~left_out), captured.only(left_out)
    noisy = watched.vectors + _NOISE * np.random.default_rng(1).standard_normal(
        watched.vectors.shape
    )
    print(
        f"{len(fitted.clips)} poses to fit, {len(watched.clips)} held out; mirrored ones included"
    )
    _print_faults("captured, held out", watched.vectors, watched)
    for each, most in ((10**9, 1), (300, 8), (_POSES_EACH, _MOST)):
        mixtures = fit_mixtures(fitted, poses_each=each, most=most, noise=_NOISE)
        density = np.mean(
            [
                log_sum_exp(mixture.log_densities(noisy[watched.categories == name])).mean()
                for name, mixture in mixtures.items()
            ]
        )
        rng = np.random.default_rng(2)
        samples = np.concatenate([_drawn(mixture, rng) for mixture in as_mixtures(mixtures)])
        print(f"at most {most} Gaussians a category: {density:.1f} nats")
        _print_faults("samples", samples, watched)
    flow = fit_flow(fitted, watched, noise=_NOISE, steps=2500, layers=8, hidden=192)
    names = np.unique(captured.categories)
    category = torch.eye(len(names)).repeat_interleave(_COMPARED_SAMPLES, dim=0)
    generator = torch.Generator().manual_seed(0)
    _print_faults("samples of the flow", flow.sample(category, generator).numpy(), watched)


def as_mixtures(mixtures: dict[str, Mixture]) -> list[Mixture]:
    """The mixtures as the asset has them, without the noise of fitting."""
    prior = as_prior(mixtures)
    owners = [prior.category == index for index in range(len(prior.categories))]
    return [Mixture(prior.weights[own], prior.means[own], prior.factors[own]) for own in owners]


def _drawn(mixture: Mixture, rng: np.random.Generator) -> Vectors:
    shares = mixture.weights.astype(np.float64)
    chosen = rng.choice(len(shares), _COMPARED_SAMPLES, p=shares / shares.sum())
    white = rng.standard_normal((_COMPARED_SAMPLES, mixture.means.shape[1]))
    return mixture.means[chosen] + np.einsum("nij,nj->ni", mixture.factors[chosen], white)


def _print_faults(name: str, vectors: Vectors, watched: Captured) -> None:
    """How many are impossible, and how far held-out poses are from the nearest of them."""
    rotvecs = from_vectors(torch.from_numpy(vectors.astype(np.float32)))
    beyond = (limit_excess(rotvecs) > LIMIT_SLACK_DEGREES).float().mean()
    inside = (limb_overlap_m(rotvecs) > OVERLAP_SLACK_M).float().mean()
    rows = np.random.default_rng(3).permutation(len(watched.vectors))[:1000]
    nearest = torch.cdist(torch.from_numpy(watched.vectors[rows]), torch.from_numpy(vectors))
    # Root mean square over 72 numbers, nearly all of which are radians.
    distance = np.degrees(nearest.amin(1).median().item() / np.sqrt(vectors.shape[1]))
    print(
        f"  {name}: beyond joint limits {beyond:.1%}, limbs inside each other {inside:.1%}, "
        f"held-out poses from the nearest {distance:.1f} degrees"
    )


def main() -> None:
    """Fits on all poses of the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", type=Path, nargs="+", required=True)
    parser.add_argument("--compare", action="store_true", help="first, on held-out clips")
    parser.add_argument("--out", type=Path, default=_ASSET)
    options = parser.parse_args()
    captured = read_captured(options.poses)
    if options.compare:
        compare(captured)
    mixtures = fit_mixtures(captured, poses_each=_POSES_EACH, most=_MOST, noise=_NOISE)
    write_pose_prior(options.out, as_prior(mixtures))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
