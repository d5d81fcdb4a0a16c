"""Arrays out of users' files -> arrays of known shape and kind, or an error that says which."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.keypoints import BODY_25, SPIN_24


def as_numbers(
    name: str, array: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64 | np.float32]:
    """`array` as real numbers of `shape`, single precision unless the file has more."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def as_text(name: str, array: NDArray[Any], count: int) -> NDArray[np.str_]:
    """`array` (count,) of text, which Python 2 saved as bytes."""
    if array.dtype.kind not in "SU":
        raise ValueError(f"{name} holds {array.dtype}, expected text")
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}, expected {(count,)}")
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)


def check_persons(good: NDArray[np.bool_], name: str, problem: str) -> None:
    """ValueError naming the first person for whom `good` (N, ...) does not hold throughout."""
    bad = np.logical_not(good.reshape(len(good), -1).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{name} of person {int(bad.argmax())} {problem} ({int(bad.sum())} of {len(bad)} such)"
        )


def masked(name: str, array: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`array` (N, ...) in single precision, zero for all that is not `known` (N, ...).

    `known` has the first axes of `array`. ValueError where a known number is not finite.
    """
    known = known.reshape(known.shape + (1,) * (array.ndim - known.ndim))
    check_persons(np.isfinite(array) | ~known, name, "is not finite")
    return np.where(known, array, 0).astype(np.float32)


def split_confidence(
    name: str, points: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`points` (N, K, D + 1) -> positions (N, K, D), and confidence (N, K) clipped to [0, 1]."""
    check_persons(~np.isnan(points[..., -1]), f"the confidence in {name}", "is NaN")
    confidence = points[..., -1].clip(0, 1).astype(np.float32)
    return masked(name, points[..., :-1], confidence > 0), confidence


BETA_COUNT = 10
BOX_UNIT_PX = 200.0
_TEXT = ("imgname", "gender")
# What follows the persons' axis.
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
_NEEDED = ("imgname", "center", "scale")


@dataclass(frozen=True, eq=False)
class Annotations:
    """N >= 1 persons. Where a mask or a confidence is zero, the value is zero and means nothing."""

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
        """Return the number of persons."""
        return len(self.image_names)


def read_annotations(path: Path) -> Annotations:
    """Reads `imgname`, `center` and `scale` (box height / 200), and what there is of the rest.

    That is `part`, `openpose`, `S`, `pose` with `shape`, `has_smpl`, `gender` and `focal_length`;
    without `has_smpl` the pose is everybody's. Other arrays are left alone.

    Raises FileNotFoundError, or ValueError naming the file, the array and the first person that
    something is wrong with.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no annotations at {path}")
    arrays = _read(path)
    try:
        return _build(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (*_TEXT, *_NUMBERS) if name in archive}
    except PermissionError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(
            f"{path}: damaged, cut short or not an .npz of plain arrays ({error}); get it again, "
            "or save its arrays again as numbers and text"
        ) from error


def _build(arrays: dict[str, NDArray[Any]]) -> Annotations:
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise ValueError(f"not annotations in SPIN's layout, it lacks {', '.join(missing)}")
    count = arrays["imgname"].size
    if not count:
        raise ValueError("imgname lists no images")
    shapes = {name: (count, *shape) for name, shape in _NUMBERS.items()}
    given = {n: as_numbers(n, arrays[n], shape) for n, shape in shapes.items() if n in arrays}
    for name in ("center", "scale", "has_smpl", "focal_length"):
        check_persons(np.isfinite(given.get(name, np.zeros(count))), name, "is not finite")
    for name in ("scale", "focal_length"):
        check_persons(given.get(name, np.ones(count)) > 0, name, "is not above zero")

    def points(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return split_confidence(name, given.get(name, np.zeros(shapes[name], np.float32)))

    (openpose, openpose_confidence), (part, part_confidence) = points("openpose"), points("part")
    joints_3d, joints_3d_confidence = points("S")
    has_mesh = given.get("has_smpl", np.ones(count)) != 0
    has_mesh = has_mesh & ("pose" in given) & ("shape" in given)
    pose, betas = (
        masked(name, given.get(name, np.zeros(shapes[name], np.float32)), has_mesh)
        for name in ("pose", "shape")
    )
    focal_length = given.get("focal_length")
    return Annotations(
        image_names=as_text("imgname", arrays["imgname"], count),
        box_center=given["center"].astype(np.float64),
        box_height=given["scale"].astype(np.float64) * BOX_UNIT_PX,
        keypoints=np.concatenate([openpose, part], axis=1),
        confidence=np.concatenate([openpose_confidence, part_confidence], axis=1),
        joints_3d=joints_3d,
        joints_3d_confidence=joints_3d_confidence,
        rotvecs=pose.reshape(count, JOINT_COUNT, 3),
        betas=betas,
        has_mesh=has_mesh,
        genders=_genders(arrays["gender"], count) if "gender" in arrays else None,
        focal_length=None if focal_length is None else focal_length.astype(np.float64),
    )


def _genders(array: NDArray[Any], count: int) -> NDArray[np.str_]:
    genders = as_text("gender", array, count)
    check_persons(np.isin(genders, ("m", "f")), "gender", "is neither 'm' nor 'f'")
    return genders
