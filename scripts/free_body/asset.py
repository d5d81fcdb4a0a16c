"""The file: SMPL's arrays under SMPL's names, in few bytes.

Values are rounded to multiples of powers of two before anything is measured or written. So a reader
gets the numbers that were measured, and the file compresses well.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scripts.free_body.decimate import ReducedMesh
from scripts.free_body.fitting import ShapeBasis
from scripts.free_body.posing import Rig
from scripts.free_body.skeleton import JOINT_PARENTS, Array

from dualhmr.keypoints import BODY_23

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
            "keypoint_names": np.array(BODY_23.names),
        }


def beta_statistics(group: str, betas: Array) -> dict[str, npt.NDArray[Any]]:
    """Mean (10,), standard deviation (10,) and covariance (10, 10) of a group's betas (N, 10)."""
    return {
        f"{group}_beta_mean": betas.mean(0).astype(np.float32),
        f"{group}_beta_std": betas.std(0).astype(np.float32),
        f"{group}_beta_covariance": np.cov(betas.T).astype(np.float32),
    }


def write_asset(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write the arrays with the asset's name and version, readable without pickle."""
    header = {"name": np.array(NAME), "format_version": np.array(FORMAT_VERSION)}
    contents: dict[str, Any] = header | arrays
    np.savez_compressed(path, **contents)


def round_rows(rows: Array, step: float) -> Array:
    """Multiples of `step` close to `rows` (R, C), such that every row sums to exactly 1.

    The remainder goes to the entries with the largest rounding errors; zeros stay zero.
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
