"""The moving picture of the steps: frames are the overlays of the steps, and files keep them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.solids import sphere
from numpy.typing import NDArray
from PIL import Image

from dualhmr.rendering import ANIMATION_SUFFIXES, Animation, overlay, step_animation
from dualhmr.rendering.page import PagePerson

PHOTO = (np.indices((96, 128)).sum(0)[..., None] * [0.6, 0.8, 1] + 20).astype(np.uint8)
CAMERA: dict[str, Any] = {"focal_length": 120.0, "principal_point": (63.5, 47.5)}
HEIGHT, WIDTH = PHOTO.shape[:2]


def balls(*steps: int) -> tuple[list[PagePerson], NDArray[np.int64]]:
    """A person of so many steps each: a ball that grows. No keypoints."""
    persons = []
    for number, count in enumerate(steps):
        solids = [sphere((1.2 * number - 0.5, 0, 3), 0.3 + 0.1 * k, 2) for k in range(count)]
        vertices = np.stack([each.vertices for each in solids]).astype(np.float32)
        nowhere = np.full((count, 3, 2), np.nan)
        rows = list(range(count))
        persons.append(
            PagePerson(number, rows, vertices, vertices[:, :24], nowhere, nowhere[0], [1.0] * count)
        )
    return persons, solids[0].faces


@pytest.mark.parametrize(("steps", "turn"), [((3,), 0), ((1,), 0), ((3, 2), 4), ((6,), 5)])
def test_frames_are_the_overlays_of_the_steps_and_a_turn(steps: tuple[int, ...], turn: int) -> None:
    persons, faces = balls(*steps)
    made = step_animation(PHOTO, persons, faces, **CAMERA, turn=turn)
    count = max(steps)
    assert len(made.frames) == len(made.durations_ms) == count + turn
    for step in (0, count - 1):  # who has ended stays as it is
        vertices = [person.vertices[min(step, len(person.steps) - 1)] for person in persons]
        drawn = overlay(PHOTO, vertices, faces, **CAMERA)
        assert np.array_equal(made.frames[step, :HEIGHT, :WIDTH], drawn[:, :WIDTH])
    # The result is held, and its turn ends where it began.
    assert made.durations_ms[count - 1] == max(made.durations_ms)
    assert np.array_equal(made.frames[-1], made.frames[count - 1])
    assert all(not duration % 10 for duration in made.durations_ms)


def test_the_side_view_keeps_its_scale_from_step_to_step() -> None:
    persons, faces = balls(4)
    made = step_animation(PHOTO, persons, faces, **CAMERA, turn=0)
    side = made.frames[:, :HEIGHT, WIDTH:].astype(int)
    shown = (side[..., 2] > side[..., 0] + 20).sum(axis=(1, 2))
    radii = 0.3 + 0.1 * np.arange(4)
    assert shown / shown[-1] == pytest.approx((radii / radii[-1]) ** 2, abs=0.05)


def test_keypoints_and_lines_between_them_are_drawn_and_the_distance_is_said() -> None:
    persons, faces = balls(2)
    observed = np.array([[20.0, 20], [100, 80], [np.nan, np.nan]])
    of_body = observed + np.array([[[0.0, 30]], [[0, 0]]])
    marked = replace(persons[0], observed=observed, keypoints=of_body)
    first, last = step_animation(PHOTO, [marked], faces, **CAMERA, turn=0).frames
    plain = step_animation(PHOTO, persons, faces, **CAMERA, turn=0).frames
    assert first[20, 20].tolist() == [232, 89, 12]
    assert first[50, 20].tolist() == [25, 113, 194]
    assert first[35, 20].tolist() == [64, 66, 72]  # the line between the two
    assert last[20, 20].tolist() == [232, 89, 12]  # on the body's own
    assert np.array_equal(last[50, 20], plain[1, 50, 20])
    words = slice(HEIGHT, None)
    assert not np.array_equal(first[words], plain[0, words])
    assert marked.errors_px() == [30.0, 0.0]
    assert persons[0].errors_px() == [None, None]


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_files_keep_frames_and_durations_and_loop(suffix: str, tmp_path: Path) -> None:
    persons, faces = balls(4)
    made = step_animation(PHOTO, persons, faces, **CAMERA, turn=0)
    for name in ("a", "b"):
        made.write(tmp_path / f"{name}{suffix.upper()}")
    one, other = sorted(tmp_path.iterdir())
    assert one.read_bytes() == other.read_bytes()
    with Image.open(one) as file:
        assert (file.n_frames, file.info["loop"]) == (4, 0)  # type: ignore[attr-defined]
        for k, (frame, duration) in enumerate(zip(made.frames, made.durations_ms, strict=True)):
            file.seek(k)
            file.load()
            assert file.info["duration"] == duration
            difference = np.abs(np.asarray(file.convert("RGB")).astype(int) - frame)
            assert difference.mean() < {".gif": 4, ".webp": 4, ".apng": 0.001}[suffix]


def test_large_photographs_are_made_smaller_and_nobody_is_one_frame() -> None:
    persons, faces = balls(1)
    made = step_animation(PHOTO, persons, faces, **CAMERA, max_side=64, turn=0)
    assert made.frames.shape[1] == 48 + 8
    assert 64 < made.frames.shape[2] <= 128
    nobody = step_animation(PHOTO, [], faces, **CAMERA)
    assert len(nobody.frames) == 1
    assert np.array_equal(nobody.frames[0, :HEIGHT, :WIDTH], PHOTO)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    persons, faces = balls(2)
    for wrong in ({"max_side": 15}, {"turn": -1}):
        with pytest.raises(ValueError, match="max_side must be at least 16 and turn at least 0"):
            step_animation(PHOTO, persons, faces, **CAMERA, **wrong)
    with pytest.raises(TypeError, match="uint8"):
        step_animation(PHOTO / 255, persons, faces, **CAMERA)
    made = step_animation(PHOTO, persons, faces, **CAMERA, turn=0)
    with pytest.raises(ValueError, match=r"ends in one of \.gif, \.webp, \.apng, got .*steps\.mp4"):
        made.write(tmp_path / "steps.mp4")
    with pytest.raises(ValueError, match="got 2 frames and 1 durations"):
        Animation(made.frames, (100,)).write(tmp_path / "steps.gif")
    with pytest.raises(FileNotFoundError):
        made.write(tmp_path / "none" / "steps.gif")
    assert not list(tmp_path.iterdir())
