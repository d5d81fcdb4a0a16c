import numpy as np
import pytest
from helpers.solids import sphere
from numpy.typing import NDArray

from dualhmr.rendering import step_strip
from dualhmr.rendering.pictures import PAPER

BALL = sphere(detail=3)
HEIGHT, WIDTH = 120, 160
PANEL = 200
CAMERA = {"focal_length": 150.0, "principal_point": (79.5, 59.5)}


def steps(count: int, *, stride: float = 0.1) -> NDArray[np.float64]:
    """Return a ball that moves to the right from step to step."""
    start = -stride * (count - 1) / 2
    return np.stack([BALL.vertices * 0.4 + (start + stride * k, 0, 4) for k in range(count)])


def drawn(vertices: NDArray[np.float64], **options: object) -> NDArray[np.uint8]:
    image = options.pop("image", np.full((HEIGHT, WIDTH, 3), 40, np.uint8))
    defaults = CAMERA | {"panel_height": PANEL, "colour": (1.0, 0.0, 0.0)}
    return step_strip(image, vertices, BALL.faces, **(defaults | options))  # type: ignore[arg-type]


def panels(strip: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut a strip into panels: they are what is not paper in the middle row."""
    ink = (strip[PANEL // 2] != PAPER).any(axis=1).astype(int)
    ends = np.flatnonzero(np.diff(ink, prepend=0, append=0)).reshape(-1, 2)
    return [strip[:, left:right] for left, right in ends]


def red_columns(panel: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.nonzero(panel[..., 0] > panel[..., 1].astype(int) + 60)[1]


@pytest.mark.parametrize(("count", "shown"), [(1, 2), (2, 3), (6, 7), (7, 7), (15, 7)])
def test_there_are_the_input_and_at_most_six_steps(count: int, shown: int) -> None:
    parts = panels(drawn(steps(count)))
    assert len(parts) == shown
    assert len({part.shape for part in parts}) == 1


def test_the_input_comes_first_and_without_a_mesh() -> None:
    first, *others = panels(drawn(steps(3)))
    assert len(red_columns(first)) == 0
    assert all(len(red_columns(part)) > 100 for part in others)


def test_steps_are_in_order_and_the_last_is_the_final_one() -> None:
    places = [red_columns(part).mean() for part in panels(drawn(steps(10)))[1:]]
    moved = np.diff(places)
    np.testing.assert_allclose(moved[:-1], moved[0], rtol=0.05)
    # Steps 5 to 8 are skipped.
    assert moved[-1] == pytest.approx(5 * moved[0], rel=0.05)


def test_all_steps_are_inside_the_panels() -> None:
    for part in panels(drawn(steps(4, stride=0.3)))[1:]:
        columns = red_columns(part)
        assert columns.min() > 0
        assert columns.max() < part.shape[1] - 1


def test_words_stand_below_the_panels() -> None:
    plain, other = drawn(steps(2), labels=["", ""]), drawn(steps(2), labels=["start", "end"])
    rows, _ = np.nonzero((plain != other).any(axis=2))
    assert rows.min() > PANEL
    defaults = drawn(steps(3), labels=["step 0", "step 1", "final"])
    np.testing.assert_array_equal(defaults, drawn(steps(3)))
    assert drawn(steps(2), labels=["a very long label " * 9, "b"]).shape == plain.shape


def test_persons_partly_outside_reach_over_the_edge() -> None:
    vertices = steps(2) + np.array([2.1, 0, 0])
    for part in panels(drawn(vertices))[1:]:
        assert len(red_columns(part)) > 100


@pytest.mark.parametrize("size", [(1, 1), (10, 20), (3, 400), (1500, 2000)])
def test_tiny_and_large_photographs_work(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    centre = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    strip = drawn(steps(3), image=image, focal_length=max(size), principal_point=centre)
    assert PANEL < strip.shape[0] < 1.3 * PANEL
    assert strip.shape[1] < 4 * 2 * PANEL


@pytest.mark.parametrize("shift", [(50, 0, 0), (-50, 30, 0), (0, 0, -10), (np.nan, 0, 0)])
def test_persons_who_are_not_to_be_seen_do_no_harm(shift: tuple[float, float, float]) -> None:
    strip = drawn(steps(2) + shift)
    assert PANEL < strip.shape[0] < 1.3 * PANEL


def test_a_step_that_blew_up_leaves_the_others_alone() -> None:
    vertices = steps(3)
    vertices[1] = np.nan
    places = [len(red_columns(part)) > 100 for part in panels(drawn(vertices))]
    assert places == [False, True, False, True]


def test_cameras_may_change_with_the_steps() -> None:
    strip = drawn(steps(2), focal_length=[150.0, 75.0], principal_point=[[79.5, 59.5]] * 2)
    large, small = (np.ptp(red_columns(part)) for part in panels(strip)[1:])
    assert large == pytest.approx(2 * small, rel=0.1)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        drawn(np.zeros((0, len(BALL.vertices), 3)))
    with pytest.raises(ValueError, match="labels must be 3"):
        drawn(steps(3), labels=["one"])
    with pytest.raises(ValueError, match="max_panels at least 2"):
        drawn(steps(3), max_panels=1)
    with pytest.raises(ValueError, match="panel_height must be at least 16"):
        drawn(steps(3), panel_height=4)
