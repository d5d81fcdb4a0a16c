"""scripts/pose_prior: mixtures, the flow, and what becomes of them in the asset."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from scripts.pose_prior.captured import Captured, held_out, read_captured
from scripts.pose_prior.fit import as_prior
from scripts.pose_prior.flow import Flow
from scripts.pose_prior.mixture import fit_mixture, fit_mixtures, log_sum_exp

from dualhmr_training.data.synthetic.poses import save_poses


def two_clusters(rng: np.random.Generator, count: int, size: int = 4) -> np.ndarray:
    centres = np.where(rng.random(count) < 0.3, -3.0, 2.0)
    return centres[:, None] + rng.standard_normal((count, size)) * np.linspace(0.2, 1, size)


def test_two_clusters_are_found_again() -> None:
    rng = np.random.default_rng(0)
    mixture = fit_mixture(two_clusters(rng, 6000), 2, rng, noise=0.01)
    low, high = mixture.means.mean(1).argsort()
    assert mixture.weights[low] == pytest.approx(0.3, abs=0.03)
    assert mixture.means[low] == pytest.approx(-3, abs=0.1)
    assert mixture.means[high] == pytest.approx(2, abs=0.1)
    # As good as the truth on other data, but for the pull of the prior.
    other = two_clusters(rng, 2000)
    covariance = np.diag(np.linspace(0.2, 1, 4) ** 2)
    true = [
        np.log(weight) + multivariate_normal(np.full(4, centre), covariance).logpdf(other)
        for weight, centre in ((0.3, -3.0), (0.7, 2.0))
    ]
    expected = np.logaddexp(*true).mean()
    found = log_sum_exp(mixture.log_densities(other)).mean()
    assert found == pytest.approx(expected, abs=0.1)


def test_the_prior_has_the_mixtures_covariance_without_the_noise() -> None:
    rng = np.random.default_rng(1)
    vectors = 0.4 * rng.standard_normal((300, 72)) @ rng.standard_normal((72, 72)) / 8
    captured = Captured(vectors, np.array(["lying"] * 300), np.array(["a"] * 300))
    mixtures = fit_mixtures(captured, poses_each=10**9, most=1, noise=0.05)
    prior = as_prior(mixtures)
    factor = mixtures["lying"].factors[0]
    expected = factor @ factor.T - 0.05**2 * np.eye(72)
    assert prior.categories == ("lying",)
    assert not np.triu(prior.factors[0], 1).any()
    np.testing.assert_allclose(prior.factors[0] @ prior.factors[0].T, expected, atol=1e-4)


def test_densities_of_the_flow_are_those_of_its_samples() -> None:
    torch.manual_seed(0)
    flow = Flow(torch.randn(100, 2) * 3 + 1, 1, layers=4, hidden=8)
    for layer in flow.layers:
        torch.nn.init.normal_(layer.net[-1].weight, std=0.3)
    grid = torch.linspace(-30, 30, 400)
    points = torch.cartesian_prod(grid, grid)
    category = torch.ones(len(points), 1)
    with torch.no_grad():
        density = flow.log_density(points, category).exp()
    cell = float(grid[1] - grid[0]) ** 2
    assert float(density.sum()) * cell == pytest.approx(1, abs=0.02)
    samples = flow.sample(torch.ones(20000, 1), torch.Generator().manual_seed(1))
    mean = (points * density[:, None]).sum(0) * cell
    torch.testing.assert_close(samples.mean(0), mean, atol=0.15, rtol=0)


def test_captured_poses_are_mirrored_named_and_cleaned(tmp_path: Path) -> None:
    poses = np.zeros((5, 24, 3))
    poses[:, 16, 2], poses[:, 17, 2] = -1.3, 1.3
    poses[4, 15, 0] = 3.0  # a head turned backwards
    clips = ["salsa_01", "made_mix", "seq", "run", "salsa_02"]
    save_poses(tmp_path / "a.npz", poses, clips, ["", "mix", "gesturing", "running", ""])
    captured = read_captured([tmp_path / "a.npz"])
    assert captured.vectors.shape == (8, 72)
    assert captured.categories.tolist() == ["dance", "standing", "standing", "walking"] * 2
    assert captured.clips.tolist() == clips[:4] * 2
    # Mirror images are held out with their clip.
    chosen = held_out(captured)
    assert (chosen[:4] == chosen[4:]).all()
