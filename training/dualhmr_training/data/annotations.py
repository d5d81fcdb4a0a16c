"""Annotations of a licensed data set in SPIN's layout: an `.npz` with one row per person.

Files come from users, so every array is checked, and errors name the array and the first person
that something is wrong with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.keypoints import BODY_25, SPIN_24
from dualhmr.untrusted import read_npz

BETA_COUNT = 10
BOX_UNIT_PX = 200.0
"""The unit of `scale`: MPII's convention, a person of about 200 pixels."""
_TEXT = ("imgname", "gender")
# Shapes of the arrays of numbers, without the first axis (persons).
_NUMBERS: Mapping[str, tuple[int, ...]] = {
    "center": (2,),
    "scale": (),
    "part": (len(SPIN_24), 3),
    "openpose": (len(BODY_25), 3),
    "pose": (3 * JOINT_COUNT,),
    "shape": (BETA_COUNT,),
    "has_smpl": (),
    "S": (len(SPIN_24), 4),
    "focal_length": (),
}
_LARGEST_BYTES = 1 << 32
"""Of all arrays: ten times those of the largest data set."""
_REQUIRED = ("imgname", "center", "scale")


@dataclass(frozen=True, eq=False)
class Annotations:
    """N >= 1 persons. Values are zero where their mask or confidence is zero."""

    image_names: NDArray[np.str_]
    """(N,) relative to the data set's folder."""
    box_center: NDArray[np.float64]
    """(N, 2) image pixels."""
    box_height: NDArray[np.float64]
    """(N,) image pixels, above zero."""
    keypoints: NDArray[np.float32]
    """(N, 49, 2) image pixels: `BODY_25`, then `SPIN_24`."""
    confidence: NDArray[np.float32]
    """(N, 49) in [0, 1]."""
    joints_3d: NDArray[np.float32]
    """(N, 24, 3) metres, `SPIN_24`, camera orientation."""
    joints_3d_confidence: NDArray[np.float32]
    """(N, 24) in [0, 1]."""
    rotvecs: NDArray[np.float32]
    """(N, 24, 3) radians, SMPL's pose."""
    betas: NDArray[np.float32]
    """(N, 10)."""
    has_mesh: NDArray[np.bool_]
    """(N,) whether `rotvecs` and `betas` are annotated."""
    genders: NDArray[np.str_] | None
    """(N,) "m" or "f"."""
    focal_length: NDArray[np.float64] | None
    """(N,) image pixels, above zero."""

    def __len__(self) -> int:
        """N."""
        return len(self.image_names)


def read_annotations(path: Path) -> Annotations:
    """Reads annotations.

    Required are `imgname`, `center` and `scale` (box height / 200). Optional are `part`,
    `openpose`, `S`, `pose` with `shape`, `has_smpl` (default: all persons have a pose), `gender`
    and `focal_length`. Other arrays are ignored.

    Raises FileNotFoundError, or ValueError that names the file, the array and the first person that
    something is wrong with.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no annotations at {path}")
    arrays = read_npz(path, (*_TEXT, *_NUMBERS), limit_bytes=_LARGEST_BYTES)
    try:
        return _build(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _build(arrays: dict[str, NDArray[Any]]) -> Annotations:
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise ValueError(f"not annotations in SPIN's layout, it lacks {', '.join(missing)}")
    count = arrays["imgname"].size
    if not count:
        raise ValueError("imgname lists no images")
    shapes = {name: (count, *shape) for name, shape in _NUMBERS.items()}
    numbers = {n: _as_numbers(n, arrays[n], shape) for n, shape in shapes.items() if n in arrays}
    for name in ("center", "scale", "has_smpl", "focal_length"):
        _check_persons(np.isfinite(numbers.get(name, np.zeros(count))), name, "is not finite")
    for name in ("scale", "focal_length"):
        _check_persons(numbers.get(name, np.ones(count)) > 0, name, "is not above zero")

    def or_zeros(name: str) -> NDArray[np.float64 | np.float32]:
        return numbers.get(name, np.zeros(shapes[name], np.float32))

    openpose, openpose_confidence = _split_confidence("openpose", or_zeros("openpose"))
    part, part_confidence = _split_confidence("part", or_zeros("part"))
    joints_3d, joints_3d_confidence = _split_confidence("S", or_zeros("S"))
    has_mesh = numbers.get("has_smpl", np.ones(count)) != 0
    has_mesh = has_mesh & ("pose" in numbers) & ("shape" in numbers)
    genders = None
    if "gender" in arrays:
        genders = _as_text("gender", arrays["gender"], count)
        _check_persons(np.isin(genders, ("m", "f")), "gender", "is neither 'm' nor 'f'")
    focal_length = numbers.get("focal_length")
    return Annotations(
        image_names=_as_text("imgname", arrays["imgname"], count),
        box_center=numbers["center"].astype(np.float64),
        box_height=numbers["scale"].astype(np.float64) * BOX_UNIT_PX,
        keypoints=np.concatenate([openpose, part], axis=1),
        confidence=np.concatenate([openpose_confidence, part_confidence], axis=1),
        joints_3d=joints_3d,
        joints_3d_confidence=joints_3d_confidence,
        rotvecs=_masked("pose", or_zeros("pose"), has_mesh).reshape(count, JOINT_COUNT, 3),
        betas=_masked("shape", or_zeros("shape"), has_mesh),
        has_mesh=has_mesh,
        genders=genders,
        focal_length=None if focal_length is None else focal_length.astype(np.float64),
    )


def _as_numbers(
    name: str, array: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64 | np.float32]:
    """`array` as real numbers of `shape`; single precision stays as it is."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def _as_text(name: str, array: NDArray[Any], count: int) -> NDArray[np.str_]:
    """`array` (count,) as text; files written by Python 2 have bytes."""
    if array.dtype.kind not in "SU":
        raise ValueError(f"{name} holds {array.dtype}, expected text")
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, expected {(count,)}")
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)


def _check_persons(good: NDArray[np.bool_], name: str, problem: str) -> None:
    """ValueError that names the first person for whom `good` (N, ...) is not all True."""
    bad = np.logical_not(good.reshape(len(good), -1).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{name} of person {int(bad.argmax())} {problem} ({int(bad.sum())} of {len(bad)} such)"
        )


def _masked(name: str, array: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`array` (N, ...) in single precision, zero where `mask`, over its first axes, is False.

    ValueError where a number under the mask is not finite in single precision.
    """
    mask = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
    with np.errstate(over="ignore", invalid="ignore"):  # too large becomes infinite
        numbers = np.where(mask, array, 0).astype(np.float32)
    _check_persons(np.isfinite(numbers), name, "is not finite")
    return numbers


def _split_confidence(
    name: str, points: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`points` (N, K, D + 1) -> positions (N, K, D), and confidence (N, K) clipped to [0, 1]."""
    _check_persons(~np.isnan(points[..., -1]), f"the confidence in {name}", "is NaN")
    confidence = points[..., -1].clip(0, 1).astype(np.float32)
    return _masked(name, points[..., :-1], confidence > 0), confidence
