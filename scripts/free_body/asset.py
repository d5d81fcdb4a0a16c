"""A template and ten shape directions from samples of bodies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scripts.free_body.decimate import ReducedMesh
from scripts.free_body.kinematics import Array
from scripts.free_body.posing import Rig
from scripts.free_body.regressors import KEYPOINT_NAMES
from scripts.free_body.skeleton import JOINT_PARENTS

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


# The file: SMPL's arrays under SMPL's names, in few bytes.
#
# Values are rounded to multiples of powers of two before they are written, so that what is
# measured is what a reader gets, and so that the file compresses well.


NAME = "dualhmr-free-body"
FORMAT_VERSION = 1

WEIGHT_STEP = 2.0**-11  # the finest that float16 holds exactly up to 1
REGRESSOR_STEP = 2.0**-14
SHAPE_STEP_M = 2.0**-16
POSE_STEP_M = 2.0**-14


@dataclass(frozen=True)
class FreeBody:
    """The finished body with V vertices.

    keypoint_regressor: (23, V), rows sum to 1; posedirs: (V, 3, 207), metres.
    """

    basis: ShapeBasis
    mesh: ReducedMesh
    rig: Rig
    keypoint_regressor: Array
    posedirs: Array

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of a body file, large ones as float16."""
        parents = np.array(JOINT_PARENTS) % 2**32  # the root's is 2**32 - 1
        return {
            "v_template": self.basis.template.astype(np.float32),
            "shapedirs": self.basis.directions.astype(np.float16),
            "posedirs": self.posedirs.astype(np.float16),
            "J_regressor": self.rig.joint_regressor.astype(np.float32),
            "weights": self.rig.skin_weights.toarray().astype(np.float16),
            "kintree_table": np.stack([parents, np.arange(len(parents))]).astype(np.uint32),
            "f": self.mesh.faces.astype(np.uint32),
            "keypoint_regressor": self.keypoint_regressor.astype(np.float32),
            "keypoint_names": np.array(KEYPOINT_NAMES),
        }


def beta_statistics(group: str, betas: Array) -> dict[str, npt.NDArray[Any]]:
    """Mean (10,), standard deviation (10,) and covariance (10, 10) of a group's betas (N, 10)."""
    return {
        f"{group}_beta_mean": betas.mean(0).astype(np.float32),
        f"{group}_beta_std": betas.std(0).astype(np.float32),
        f"{group}_beta_covariance": np.cov(betas.T).astype(np.float32),
    }


def write_asset(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write the arrays under the asset's name and version, readable without pickle."""
    header = {"name": np.array(NAME), "format_version": np.array(FORMAT_VERSION)}
    contents: dict[str, Any] = header | arrays
    np.savez_compressed(path, **contents)


def round_rows(rows: Array, step: float) -> Array:
    """Multiples of `step` close to `rows` (R, C), every row summing to exactly 1.

    What rounding leaves goes to the entries with the largest remainders; zeros stay zero.
    """
    exact = rows / rows.sum(1, keepdims=True) / step
    rounded = np.round(exact)
    for row, wanted in zip(rounded, exact, strict=True):
        missing = round(1 / step - row.sum())
        urgency = np.where(row != 0, (wanted - row) * np.sign(missing), -np.inf)
        row[np.argsort(-urgency, kind="stable")[: abs(missing)]] += np.sign(missing)
    result: Array = rounded * step
    return result


def round_offsets(offsets: Array, step: float) -> Array:
    """Multiples of `step` metres, as float16 holds them."""
    rounded: Array = (np.round(offsets / step) * step).astype(np.float16).astype(np.float64)
    return rounded
