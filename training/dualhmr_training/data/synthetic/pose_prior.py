"""A prior of human poses: poses for everybody who has no captured ones.

It is a mixture of Gaussians for each category of pose, learnt by `scripts/pose_prior` from poses
that may not be passed on themselves; `POSE_PRIOR_NOTICE.md` beside the asset says which.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import count as counting
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from dualhmr.untrusted import as_float32, read_npz
from dualhmr_training.data.synthetic.pose_limits import is_possible
from dualhmr_training.data.synthetic.poses import PoseFile

Vectors = npt.NDArray[np.float32]

PRIOR_POSES = 20_000
"""As many as a prior stands for in the place of a file."""
TRAINING_SEED, TEST_SEED = 1, 2
VECTOR_SIZE = 72
_ARRAYS = ("categories", "category", "weights", "means", "factors")
_LARGEST_BYTES = 1 << 26
_MOST_ROUNDS = 200
_SPREAD = 0.8
"""Of samples around their component's mean: drawn with all of it, 72 numbers together leave the
captured poses too often."""
_TRIANGLE = np.tril_indices(VECTOR_SIZE)


def to_vectors(rotvecs: Tensor) -> Tensor:
    """Poses (N, 24, 3) -> (N, 72): up in the frame of the pelvis, and the other joints' vectors.

    The heading is lost.
    """
    up = rotvec_to_rotmat(rotvecs[:, 0])[:, 1]
    return torch.cat([up, rotvecs[:, 1:].flatten(1)], dim=1)


def from_vectors(vectors: Tensor) -> Tensor:
    """(N, 72) -> poses (N, 24, 3) in a y-up world; up needs no unit length."""
    up = torch.nn.functional.normalize(vectors[:, :3], dim=1)
    # The shortest rotation that brings up to (0, 1, 0), by Rodrigues' formula without angles.
    x, y, z = up.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -x, zero, x, zero, z, zero, -z, zero], dim=1).unflatten(1, (3, 3))
    one_plus_y = ((x * x + z * z) / (1 - y)).where(y < 0, 1 + y)  # accurate near -1
    rotation = torch.eye(3) + skew + skew @ skew / one_plus_y.clamp_min(1e-12)[:, None, None]
    # Exactly upside down, any half turn will do.
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotation = torch.where((one_plus_y < 1e-9)[:, None, None], half_turn, rotation)
    return torch.cat([rotmat_to_rotvec(rotation)[:, None], vectors[:, 3:].unflatten(1, (23, 3))], 1)


@dataclass(frozen=True, eq=False)
class PosePrior:
    """K Gaussians of `to_vectors`' 72 numbers, each of one category."""

    categories: tuple[str, ...]
    category: npt.NDArray[np.int64]
    """(K,) which of `categories` each component is of."""
    weights: Vectors
    """(K,) adding up to 1 within a category."""
    means: Vectors
    """(K, 72)"""
    factors: Vectors
    """(K, 72, 72) lower triangles whose product with their transpose is the covariance."""

    def sample(self, count: int, *, seed: int, categories: tuple[str, ...] = ()) -> PoseFile:
        """`count` possible poses, as many of each category, or of those named.

        A clip is a component of the mixture: its poses resemble each other. What `is_possible`
        refuses is drawn again. Raises ValueError for an unknown category.
        """
        names = categories or self.categories
        unknown = sorted(set(names) - set(self.categories))
        if unknown:
            raise ValueError(
                f"the prior has no category {', '.join(unknown)}; it has "
                f"{', '.join(self.categories)}"
            )
        parts = []
        for number, name in enumerate(names):
            rng = np.random.default_rng([seed, self.categories.index(name)])
            own = count // len(names) + (number < count % len(names))
            parts.append(self._of_category(name, own, rng))
        return PoseFile(
            torch.cat([part.rotvecs for part in parts]),
            tuple(clip for part in parts for clip in part.clips),
            tuple(category for part in parts for category in part.categories),
        )

    def _of_category(self, name: str, count: int, rng: np.random.Generator) -> PoseFile:
        poses, clips = [torch.zeros(0, 24, 3)], []
        for vectors, components in self._draws(name, rng, at_once=count + 16):
            rotvecs = from_vectors(torch.from_numpy(vectors))
            possible = is_possible(rotvecs)
            poses.append(rotvecs[possible])
            clips += [f"prior_{name}_{each}" for each in components[possible.numpy()]]
            if len(clips) >= count:
                break
        return PoseFile(torch.cat(poses)[:count], tuple(clips[:count]), (name,) * count)

    def _draws(
        self, name: str, rng: np.random.Generator, *, at_once: int
    ) -> Iterator[tuple[Vectors, npt.NDArray[np.int64]]]:
        """Vectors (N, 72) and their components (N,), again and again."""
        own = np.flatnonzero(self.category == self.categories.index(name))
        shares = self.weights[own].astype(np.float64)
        for done in counting():
            if done == _MOST_ROUNDS:
                raise ValueError(f"hardly any pose of {name} is possible; is the prior damaged?")
            components = own[rng.choice(len(own), at_once, p=shares / shares.sum())]
            white = (_SPREAD * rng.standard_normal((at_once, VECTOR_SIZE))).astype(np.float32)
            vectors = self.means[components] + np.einsum(
                "nij,nj->ni", self.factors[components], white
            )
            yield vectors, components


def read_pose_prior(path: Path) -> PosePrior:
    """Reads what `scripts/pose_prior` wrote. Raises OSError, or ValueError for any other file."""
    arrays = read_npz(path, _ARRAYS, limit_bytes=_LARGEST_BYTES)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; is it a pose prior?")
    count = len(arrays["category"])
    triangles = as_float32(arrays["factors"], "factors")
    expected = {"means": (count, VECTOR_SIZE), "weights": (count,)}
    shapes = {name: arrays[name].shape for name in expected}
    if shapes != expected or triangles.shape != (count, len(_TRIANGLE[0])):
        raise ValueError(f"{path}: arrays of {count} components have other shapes: {shapes}")
    factors = np.zeros((count, VECTOR_SIZE, VECTOR_SIZE), np.float32)
    factors[:, _TRIANGLE[0], _TRIANGLE[1]] = triangles
    return PosePrior(
        categories=tuple(map(str, arrays["categories"])),
        category=arrays["category"].astype(np.int64),
        weights=as_float32(arrays["weights"], "weights"),
        means=as_float32(arrays["means"], "means"),
        factors=factors,
    )


def write_pose_prior(path: Path, prior: PosePrior) -> None:
    """Writes in half precision; the triangles alone."""
    triangles = prior.factors[:, _TRIANGLE[0], _TRIANGLE[1]]
    np.savez_compressed(
        path,
        categories=np.array(prior.categories),
        category=prior.category.astype(np.int16),
        weights=prior.weights.astype(np.float32),
        means=prior.means.astype(np.float16),
        factors=triangles.astype(np.float16),
    )


@lru_cache(maxsize=1)
def default_pose_prior() -> PosePrior:
    """That of the package."""
    with as_file(files("dualhmr_training") / "assets" / "pose_prior.npz") as path:
        return read_pose_prior(path)


@lru_cache(maxsize=2)
def prior_poses(seed: int, count: int = PRIOR_POSES) -> PoseFile:
    """Poses of the package's prior, the same for the same seed."""
    return default_pose_prior().sample(count, seed=seed)
