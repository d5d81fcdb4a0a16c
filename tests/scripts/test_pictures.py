"""The pictures in docs/images are what the code draws, and each has an origin."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scripts.pictures import DRAWN, IMAGES, NAMES, recover_example

from dualhmr import Recovery
from dualhmr.example import PHOTOGRAPH

OF_OTHER_COMMANDS = {"latency.png", "training_curve.png"}


@pytest.fixture(scope="module")
def recovery() -> Recovery:
    return recover_example()


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_what_the_code_draws(name: str, recovery: Recovery) -> None:
    with Image.open(IMAGES / name) as file:
        stored = np.asarray(file.convert("RGB"))
    assert_alike(stored, DRAWN[name](recovery))


def test_the_moving_picture_has_the_steps_of_the_recovery(
    recovery: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dualhmr.recovery._PAGE_BODIES", 2)  # the first one and the result
    first, last = recovery.step_animation(PHOTOGRAPH, turn=0).frames
    result = int(recovery.best_step[0])
    with Image.open(IMAGES / "steps.gif") as file:
        assert file.n_frames == result + 1 + 24  # type: ignore[attr-defined]
        for step, frame in ((0, first), (result, last)):
            file.seek(step)
            stored = np.asarray(file.convert("RGB"))
            # The side view of a picture that turns at the end has more room; a GIF few colours.
            assert_alike(stored[:440, :440], frame[:440, :440], mean=4, other=3e-3)
    assert (IMAGES / "steps.gif").stat().st_size < 1.5e6


def test_every_picture_has_an_origin() -> None:
    drawn_by_hand = {path.name for path in IMAGES.glob("*.svg")}
    names = {*NAMES, *OF_OTHER_COMMANDS, *drawn_by_hand}
    assert {path.name for path in IMAGES.iterdir()} == names


def assert_alike(
    stored: NDArray[np.uint8], drawn: NDArray[np.uint8], *, mean: float = 0.3, other: float = 3e-4
) -> None:
    """Up to rounding by other processors and versions of libraries; `other` is of the pixels."""
    message = "a picture in docs/images is old: make pictures"
    assert stored.shape == drawn.shape, message
    difference = np.abs(stored.astype(int) - drawn).max(axis=-1)
    assert difference.mean() < mean, message
    assert (difference > 60).mean() < other, message
