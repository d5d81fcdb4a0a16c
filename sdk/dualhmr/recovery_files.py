"""`recovery.npz`: the arrays of a `Recovery`, and how they are read back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT, BodyArrays
from dualhmr.body.files import FREE_BODY, read_body
from dualhmr.keypoints import NAMED_SETS, Keypoints, KeypointSet
from dualhmr.person import StepTrace, place_bodies
from dualhmr.untrusted import as_float32, brief, one_value_error, read_npz

Arrays = dict[str, npt.NDArray[Any]]

_LARGEST_BYTES = 1 << 30
_SAME_BODY_M = 1e-3
_SHAPES: dict[str, tuple[int | str, ...]] = {
    "persons": ("P",),
    "vertices": ("P", "V", 3),
    "joints": ("P", JOINT_COUNT, 3),
    "keypoints_2d": ("P", "K", 2),
    "observed_keypoints": ("P", "K", 3),
    "global_orient": ("P", 3, 3),
    "body_pose": ("P", JOINT_COUNT - 1, 3, 3),
    "betas": ("P", "B"),
    "translation": ("P", 3),
    "uncertainty": ("P", JOINT_COUNT),
    "pseudo_rotations": ("P", JOINT_COUNT, 3, 3),
    "pseudo_betas": ("P", "B"),
    "focal_length": ("P",),
    "principal_point": ("P", 2),
    "faces": ("F", 3),
    "steps": ("P",),
    "best_step": ("P",),
    "reprojection_px": ("P", 2),
    "loss_history": ("P", "L"),
    "stop_reason": ("P",),
    "keypoint_names": ("K",),
    "body": (),
    "step_counts": ("P",),
    "step_rotations": ("P", "S", JOINT_COUNT, 3, 3),
    "step_betas": ("P", "S", "B"),
    "step_translation": ("P", "S", 3),
}
"""Of a file; equal letters are equal lengths. After a person's last step there is NaN."""
_WHOLE = ("persons", "steps", "best_step", "faces", "step_counts")
_TEXT = ("stop_reason", "keypoint_names", "body")
_STEPS = ("step_rotations", "step_betas", "step_translation")
_MAY_BE_NAN = ("keypoints_2d", "reprojection_px")


def padded(rows: Sequence[npt.ArrayLike], like: tuple[int, ...] = ()) -> npt.NDArray[Any]:
    """P arrays (S_i, ...) as one (P, S, ...), with NaN after the end of each.

    `like` is the "..." where P is 0.
    """
    arrays = [np.asarray(row) for row in rows]
    shape = arrays[0].shape[1:] if arrays else like
    length = max(map(len, arrays), default=0)
    joined = np.full((len(arrays), length, *shape), np.nan, arrays[0].dtype if arrays else float)
    for row, array in zip(joined, arrays, strict=True):
        row[: len(array)] = array
    return joined


def trace_arrays(
    keypoints: Keypoints, traces: Sequence[StepTrace], body: BodyArrays | None, beta_count: int
) -> Arrays:
    """What a file holds besides the arrays of `Recovery`: keypoints, steps, the body's name."""
    shapes = ((JOINT_COUNT, 3, 3), (beta_count,), (3,))
    steps = {
        f"step_{field}": padded([getattr(trace, field) for trace in traces], shape)
        for field, shape in zip(StepTrace._fields, shapes, strict=True)
    }
    seen = np.concatenate([keypoints.xy, keypoints.confidence[..., None]], axis=2)
    return steps | {
        "observed_keypoints": seen,
        "keypoint_names": np.array(keypoints.set.names),
        "step_counts": np.array([len(trace.betas) for trace in traces], np.int64),
        "body": np.array(_name(body)),
    }


@lru_cache(maxsize=1)
def free_body() -> BodyArrays:
    """Read once a process."""
    return read_body()


def _name(body: BodyArrays | None) -> str:
    """Of the free body only if it is unchanged: another one of this name would show other steps."""
    if body is None or (body.name == FREE_BODY and not body.same_as(free_body())):
        return "unknown"
    return body.name


def read_recovery_fields(
    path: str | os.PathLike[str], *, body: BodyArrays | None = None
) -> dict[str, Any]:
    """The fields of a `Recovery` that `save("recovery.npz")` wrote, in a file from anybody.

    Raises FileNotFoundError; ValueError for a damaged file, other arrays or another body.
    """
    arrays = read_npz(path, _SHAPES, limit_bytes=_LARGEST_BYTES)
    with one_value_error(path, "cannot be read as a recovery"):
        _check(arrays)
        named = str(arrays.pop("body"))
        body = free_body() if body is None and named == FREE_BODY else body
        names = tuple(arrays.pop("keypoint_names").tolist())
        known = (each for each in NAMED_SETS.values() if each.names == names)
        keypoint_set = next(known, None) or KeypointSet("own", names)
        seen = arrays.pop("observed_keypoints")
        counts = arrays.pop("step_counts")
        steps = [arrays.pop(f"step_{field}") for field in StepTrace._fields]
        traces = tuple(
            StepTrace(*(step[row, :count] for step in steps)) for row, count in enumerate(counts)
        )
        for trace, best in zip(traces, arrays["best_step"], strict=True):
            for step in trace:
                as_float32(step[: best + 1], "a step up to the best")
        history = arrays.pop("loss_history")
        losses = tuple(tuple(history[row, :count].tolist()) for row, count in enumerate(counts))
        fields: dict[str, Any] = arrays | {
            "stop_reason": tuple(arrays["stop_reason"].tolist()),
            "keypoints": Keypoints(keypoint_set, seen[..., :2].copy(), seen[..., 2].copy()),
            "traces": traces,
            "loss_history": losses,
            "body": body,
        }
        if body is not None:
            _check_body(fields, body, named)
        return fields


def is_recovery(path: str | os.PathLike[str]) -> bool:
    """Whether an `.npz` file is of a `Recovery`, not of a motion. Raises ValueError if damaged."""
    return bool(read_npz(path, ("best_step",), limit_bytes=_LARGEST_BYTES))


def _check(arrays: Arrays) -> None:
    """Shapes and numbers, in place: what is real becomes float32 and finite."""
    missing = [name for name in _SHAPES if name not in arrays]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    lengths: dict[str, int] = {}
    for name, shape in _SHAPES.items():
        array = arrays[name]
        expected = tuple(
            lengths.setdefault(each, size) if isinstance(each, str) else each
            for each, size in zip(shape, array.shape, strict=False)
        )
        kinds = "iu" if name in _WHOLE else "U" if name in _TEXT else "f"
        if array.ndim != len(shape) or array.shape != expected or array.dtype.kind not in kinds:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {shape}")
        if name in _WHOLE:
            arrays[name] = array.astype(np.int64)
        elif name not in (*_TEXT, "loss_history"):
            if name not in _STEPS:  # a failed adaptation ends with numbers that are not finite
                as_float32(np.nan_to_num(array) if name in _MAY_BE_NAN else array, name)
            with np.errstate(over="ignore"):
                arrays[name] = array.astype(np.float32)
    counts, faces = arrays["step_counts"], arrays["faces"]
    longest = min(arrays["step_betas"].shape[1], arrays["loss_history"].shape[1])
    best = arrays["best_step"]
    if not ((best >= 0) & (best < counts) & (counts <= longest)).all():
        raise ValueError(f"steps {best.tolist()} of {counts.tolist()} are not there")
    if faces.size and not 0 <= faces.min() <= faces.max() < lengths["V"]:
        raise ValueError(f"faces must name vertices 0 to {lengths['V'] - 1}")
    if not (arrays["focal_length"] > 0).all():
        raise ValueError("focal_length must be positive")


def _check_body(fields: dict[str, Any], body: BodyArrays, named: str) -> None:
    """ValueError unless `body` posed by the file's parameters is the file's mesh."""
    vertices = fields["vertices"]
    same = vertices.shape[1:] == (body.vertex_count, 3) and np.array_equal(
        fields["faces"], body.faces
    )
    if same and len(vertices) and fields["betas"].shape[1] == body.beta_count:
        rotations = np.concatenate([fields["global_orient"][:, None], fields["body_pose"]], axis=1)
        first = slice(0, 1)
        parameters = (rotations[first], fields["betas"][first], fields["translation"][first])
        posed, _ = place_bodies(body, *parameters)
        same = bool(np.abs(posed - vertices[first]).max() < _SAME_BODY_M)
    elif len(vertices):
        same = False
    if not same:
        raise ValueError(
            f"its bodies are of {brief(named)}, not of {body.name!r}: pass body=, its body file"
        )
