"""The files that are written of a photograph, and what is said of it in JSON."""

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.files import write_text
from dualhmr.recovery import Recovery

OUTPUTS = {
    "npz": "recovery.npz",
    "overlay": "overlay.png",
    "steps": "steps.png",
    "glb": "mesh.glb",
    "html": "result.html",
    "gif": "steps.gif",
}
"""The files that `write_outputs` can write."""
USUAL_OUTPUTS = tuple(output for output in OUTPUTS if output != "gif")
"""Those that are written where none are named."""
PICTURES = ("overlay", "steps", "html", "gif")
"""Those that show the photograph."""

# Of the strips of all persons, one below the other.
_STRIPS_HEIGHT = 4000
_PANEL_HEIGHTS = (64, 360)


def write_outputs(
    recovery: Recovery,
    image: npt.NDArray[np.uint8] | None,
    folder: Path,
    outputs: Collection[str] = USUAL_OUTPUTS,
    *,
    title: str | None = None,
    color: str = "person",
) -> list[Path]:
    """Writes the chosen ones of `OUTPUTS` into `folder`; returns their paths.

    `image` (H, W, 3) may be None where no picture is chosen. `title` is that of `result.html`,
    `color` that of `Recovery.overlay` and `Recovery.step_strip`.
    `steps.png` has a strip for every person, smaller ones for many persons. Every file is written
    completely or not at all. Raises OSError, naming the file, if one cannot be written.
    """
    from dualhmr.rendering import write_png

    folder.mkdir(parents=True, exist_ok=True)
    paths = {output: folder / name for output, name in OUTPUTS.items() if output in outputs}
    for output, path in paths.items():
        if output == "overlay":
            write_png(path, recovery.overlay(image, keypoints=True, color=color))
        elif output == "steps" and image is not None:
            write_png(path, _all_strips(recovery, image, color))
        elif output == "html":
            write_text(path, recovery.page(image, title=title))
        elif output == "gif":
            recovery.save(path, image=image)
        else:
            recovery.save(path)
    return list(paths.values())


def _all_strips(
    recovery: Recovery, image: npt.NDArray[np.uint8], color: str
) -> npt.NDArray[np.uint8]:
    """One below the other, narrower ones padded with white; without persons the photograph."""
    if len(recovery) == 0:
        return image
    low, high = _PANEL_HEIGHTS
    panel_height = min(max(_STRIPS_HEIGHT // len(recovery), low), high)
    pictures = [
        recovery.step_strip(image, person, panel_height=panel_height, color=color)
        for person in range(len(recovery))
    ]
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
        for picture in pictures
    ]
    return np.concatenate(padded)


def describe_people(recovery: Recovery) -> dict[str, Any]:
    """How the adaptation of each person went, and who was skipped and why: plain data."""
    persons = [
        {
            "person": int(recovery.persons[index]),
            "steps": int(recovery.steps[index]),
            "stop_reason": recovery.stop_reason[index],
            "loss_history": list(recovery.loss_history[index]),
            "reprojection_px": {
                "before": float(recovery.reprojection_px[index, 0]),
                "after": float(recovery.reprojection_px[index, 1]),
            },
            "uncertainty_m": dict(
                zip(JOINT_NAMES, recovery.uncertainty[index].tolist(), strict=True)
            ),
        }
        for index in range(len(recovery))
    ]
    return {
        "persons": persons,
        "skipped": [skipped._asdict() for skipped in recovery.skipped],
        "warnings": [warning._asdict() for warning in recovery.warnings],
    }


def to_json(value: Any) -> str:
    """JSON as every parser reads it: numbers that are not finite are null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
