"""The file: SMPL's arrays under SMPL's names, in few bytes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scripts.free_body.kinematics import Array
from scripts.free_body.skeleton import JOINT_PARENTS

NAME = "dualhmr-free-body"
FORMAT_VERSION = 1

# Steps are powers of two, so that float16 and float32 hold every multiple exactly.
WEIGHT_STEP = 2.0**-11
REGRESSOR_STEP = 2.0**-14
OFFSET_STEP_M = 2.0**-14  # 0.06 mm


def kintree_table() -> npt.NDArray[np.uint32]:
    """SMPL's tree (2, 24): parents, with 2**32 - 1 for the root, above the joints' indices."""
    parents = np.array(JOINT_PARENTS) % 2**32
    return np.stack([parents, np.arange(len(parents))]).astype(np.uint32)


def round_rows(rows: Array, step: float) -> Array:
    """Multiples of `step` close to `rows` (R, C), every row summing to exactly 1.

    What rounding leaves goes to the entries with the largest remainders; zeros stay zero.
    """
    scaled = rows / rows.sum(1, keepdims=True) / step
    rounded = np.round(scaled)
    for row, exact in zip(rounded, scaled, strict=True):
        missing = round(1 / step - row.sum())
        urgency = np.where(row != 0, (exact - row) * np.sign(missing), -np.inf)
        row[np.argsort(-urgency, kind="stable")[: abs(missing)]] += np.sign(missing)
    result: Array = rounded * step
    return result


def round_offsets(offsets: Array) -> Array:
    """Offsets in metres rounded to a step that compresses well."""
    rounded: Array = np.round(offsets / OFFSET_STEP_M) * OFFSET_STEP_M
    return rounded


def write_asset(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write the arrays with the file's name and version; large ones as float16."""
    half = {name: arrays[name].astype(np.float16) for name in ("shapedirs", "posedirs", "weights")}
    header = {"name": np.array(NAME), "format_version": np.array(FORMAT_VERSION)}
    np.savez_compressed(path, **header, **(arrays | half))
