"""What users ask for, checked: devices, who can be recovered, and which camera there was."""

import re

import numpy as np

from dualhmr.camera import default_focal_length, image_center
from dualhmr.keypoints import Keypoints, person_problem
from dualhmr.recovery import SkippedPerson


def sort_out(given: Keypoints, size: tuple[int, int]) -> tuple[list[int], list[SkippedPerson]]:
    """Who can be recovered, and who cannot and why. ValueError when nobody can."""
    chosen, skipped = [], []
    for person in range(len(given)):
        problem = person_problem(given.xy[person], given.confidence[person], size)
        if problem is None:
            chosen.append(person)
        else:
            skipped.append(SkippedPerson(person, problem))
    if not chosen:
        reasons = "; ".join(f"person {person}: {reason}" for person, reason in skipped)
        raise ValueError(f"nobody can be recovered: {reasons}")
    return chosen, skipped


def image_camera(
    width: int,
    height: int,
    focal_length: float | None,
    principal_point: tuple[float, float] | None,
) -> tuple[float, tuple[float, float]]:
    """The focal length and the principal point in pixels: those given, or CLIFF's guesses.

    Raises ValueError for numbers that no camera has.
    """
    focal_length = default_focal_length(width, height) if focal_length is None else focal_length
    if not (np.isfinite(focal_length) and focal_length > 0):
        raise ValueError(f"focal_length is {focal_length}, expected pixels, more than 0")
    principal_point = image_center(width, height) if principal_point is None else principal_point
    if np.shape(principal_point) != (2,) or not np.isfinite(principal_point).all():
        raise ValueError(f"principal_point is {principal_point}, expected (x, y) in pixels")
    return float(focal_length), (float(principal_point[0]), float(principal_point[1]))


def check_device(device: str) -> None:
    """Raises ValueError unless it is "cpu", "cuda" or the number of a GPU, "cuda:1"."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"unknown device {device!r}; known are 'cpu' and 'cuda'")
