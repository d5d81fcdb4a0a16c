"""`insane` finds what is wrong: the fuzz test is worth no more than this."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.sanity import insane
from helpers.standing_person import standing_person

from dualhmr import Recoverer, Recovery
from dualhmr.plausibility import PersonWarning, SkippedPerson


@pytest.fixture(scope="module")
def recovery(recoverer: Recoverer) -> Recovery:
    photo = np.full((512, 512, 3), 120, np.uint8)
    recovery = recoverer.recover(photo, standing_person(), max_steps=6)
    assert recovery.best_step[0] > 0
    assert insane(recovery) == []
    return recovery


def spoilt(array: np.ndarray, value: float) -> np.ndarray:
    copy = array.copy()
    copy.flat[0] = value
    return copy


Change = Callable[[Recovery], dict[str, Any]]
CHANGES: list[tuple[str, Change]] = [
    ("vertices is not finite", lambda r: {"vertices": spoilt(r.vertices, np.nan)}),
    ("reprojection_px is not finite", lambda r: {"reprojection_px": r.reprojection_px * np.inf}),
    ("betas is of 2 persons", lambda r: {"betas": r.betas.repeat(2, axis=0)}),
    ("in front of the camera", lambda r: {"vertices": r.vertices - r.translation[:, None]}),
    ("of human size", lambda r: {"betas": r.betas + np.float32(100)}),
    ("the step that it says", lambda r: {"betas": r.betas + np.float32(0.1)}),
    ("of rotations", lambda r: {"body_pose": r.body_pose * np.float32(1.1)}),
    ("where its keypoints are", lambda r: {"vertices": r.vertices + np.float32(0.01)}),
    ("where its keypoints are", lambda r: {"focal_length": r.focal_length * np.float32(1.05)}),
    ("as far from its keypoints", lambda r: {"keypoints_2d": r.keypoints_2d + np.float32(1)}),
    ("near its keypoints", lambda r: {"reprojection_px": r.reprojection_px * 0 + 500}),
    ("than at the start", lambda _: {"reprojection_px": np.float32([[50, 55]])}),
    ("keypoints that the body has", lambda r: {"keypoints_2d": spoilt(r.keypoints_2d, np.nan)}),
    ("its best step", lambda r: {"best_step": r.best_step * 0}),
    ("as many steps as losses", lambda r: {"steps": r.steps + 1}),
    ("joined to its vertices", lambda r: {"joints": r.joints + np.float32(9)}),
    ("recovered or skipped once", lambda _: {"skipped": (SkippedPerson(0, "why"),)}),
    ("a warning is of nobody", lambda _: {"warnings": (PersonWarning(3, "poor_fit", "so"),)}),
    ("empty or endless", lambda _: {"warnings": (PersonWarning(0, "poor_fit", "so" * 2000),)}),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "change"), CHANGES)
def test_insane_finds_it(recovery: Recovery, problem: str, change: Change) -> None:
    with np.errstate(invalid="ignore"):
        found = insane(replace(recovery, **change(recovery)))
    assert any(problem in each for each in found), found


def test_what_is_warned_of_is_sane(recovery: Recovery) -> None:
    far = {"reprojection_px": np.float32([[50, 500]])}
    assert any("near its" in each for each in insane(replace(recovery, **far)))
    warned = replace(recovery, **far, warnings=(PersonWarning(0, "poor_fit", "far away"),))
    assert not any("near its" in each for each in insane(warned))
