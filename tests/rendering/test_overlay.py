import numpy as np
import pytest
from helpers.solids import sphere
from numpy.typing import NDArray

from dualhmr.rendering import overlay, render_meshes
from dualhmr.rendering.distance_colours import FULL_M, distance_colours, distance_scale
from dualhmr.rendering.overlay import OPACITY

HEIGHT, WIDTH = 120, 160
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
BALL = sphere(detail=3)
CAMERA = {"focal_length": 150.0, "principal_point": (79.5, 59.5)}


def photograph(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ball(x: float, y: float, z: float, radius: float = 0.5) -> NDArray[np.float64]:
    return BALL.vertices * radius + (x, y, z)


def drawn(
    vertices: object, image: NDArray[np.uint8] | None = None, **options: object
) -> NDArray[np.uint8]:
    image = photograph() if image is None else image
    return overlay(image, vertices, BALL.faces, **(CAMERA | options))  # type: ignore[arg-type]


def pixels_of(picture: NDArray[np.uint8], channel: int) -> tuple[NDArray[np.int64], ...]:
    """Return the rows and columns where one primary colour prevails."""
    others = np.delete(picture, channel, axis=2).max(axis=2).astype(int)
    return np.nonzero(picture[..., channel] > others + 60)


def test_the_left_is_the_photograph_with_the_meshes() -> None:
    image = photograph()
    picture = drawn([ball(0, 0, 4)])
    expected = render_meshes(
        [ball(0, 0, 4)], BALL.faces, background=image, opacity=OPACITY, **CAMERA
    )  # type: ignore[arg-type]
    np.testing.assert_array_equal(picture[:, :WIDTH], expected)
    np.testing.assert_array_equal(image, photograph())


def test_the_right_is_of_the_same_height_and_no_wider() -> None:
    for vertices in ([ball(0, 0, 4)], [ball(0, 0, 4), ball(0, 0, 40)], [ball(0, 0, 4, 9.0)]):
        picture = drawn(vertices)
        assert picture.shape[0] == HEIGHT
        assert WIDTH < picture.shape[1] <= 2 * WIDTH


def test_from_the_side_what_is_farther_is_to_the_right() -> None:
    picture = drawn([ball(0.8, 0, 5), ball(-0.8, 0, 7)], colours=[RED, GREEN])
    side = picture[:, WIDTH:]
    (_, near), (_, far) = pixels_of(side, 0), pixels_of(side, 1)
    assert near.max() < far.min()
    # Equal balls appear equally large, far or near: parallels stay parallel.
    assert np.ptp(near) == pytest.approx(np.ptp(far), abs=1)
    metre = (near.max() - near.min() + 1) / 1.0
    assert far.mean() - near.mean() == pytest.approx(2 * metre, abs=0.06 * metre)


def test_the_side_view_hides_what_is_on_its_far_side() -> None:
    """It is seen from the photograph's right."""
    picture = drawn([ball(0.6, 0, 5), ball(-0.6, 0, 5)], colours=[RED, GREEN])
    assert len(pixels_of(picture[:, WIDTH:], 1)[0]) == 0
    assert len(pixels_of(picture[:, WIDTH:], 0)[0]) > 100


def test_from_the_side_a_person_is_at_the_same_height_and_as_large() -> None:
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    picture = drawn([ball(0, 0.1, 20.0, 5.0)], white, colours=[RED])
    (rows, _), (side_rows, _) = (
        pixels_of(picture[:, :WIDTH], 0), pixels_of(picture[:, WIDTH:], 0)
    )  # fmt: skip
    assert side_rows.mean() == pytest.approx(rows.mean(), abs=1)
    assert np.ptp(side_rows) == pytest.approx(np.ptp(rows), rel=0.05)


@pytest.mark.parametrize("size", [(3000, 4000), (1600, 90), (90, 1600)])
def test_large_photographs_are_made_smaller(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 255, np.uint8)
    centre = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    picture = drawn(
        [ball(0, 0, 4)], image, focal_length=1.25 * max(size), principal_point=centre,
        colours=[RED], max_side=200,
    )  # fmt: skip
    scale = 200 / max(size)
    height, width = round(size[0] * scale), round(size[1] * scale)
    assert picture.shape[0] == height
    assert width < picture.shape[1] <= 2 * width
    rows, columns = pixels_of(picture[:, :width], 0)
    assert rows.mean() == pytest.approx((height - 1) / 2, abs=1)
    assert columns.mean() == pytest.approx((width - 1) / 2, abs=1)
    assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(250 * 0.25, abs=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (10, 20)])
def test_tiny_photographs_work(size: tuple[int, int]) -> None:
    picture = drawn(
        [ball(0, 0, 4), ball(1, 0, 5)], photograph(*size), keypoints=np.zeros((2, 3, 2))
    )
    assert picture.shape[0] == size[0]
    assert size[1] < picture.shape[1] <= 2 * size[1]


def test_keypoints_are_drawn_where_they_are() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    points = np.array([[[30.0, 20.0], [100.5, 80.25]]])
    plain, dotted = drawn([ball(0, 0, 50)], grey), drawn([ball(0, 0, 50)], grey, keypoints=points)
    rows, columns = np.nonzero((plain != dotted).any(axis=2))
    distance = np.hypot(columns[:, None] - points[0, :, 0], rows[:, None] - points[0, :, 1])
    assert distance.min(axis=1).max() < 4
    for k, (x, y) in enumerate(points[0]):
        mine = distance.argmin(axis=1) == k
        assert columns[mine].mean() == pytest.approx(x, abs=0.3)
        assert rows[mine].mean() == pytest.approx(y, abs=0.3)


def test_keypoints_follow_a_photograph_that_is_made_smaller() -> None:
    grey = np.full((4 * HEIGHT, 4 * WIDTH, 3), 128, np.uint8)
    options = {"max_side": WIDTH, "focal_length": 600.0}
    plain = drawn([ball(0, 0, 50)], grey, **options)
    dotted = drawn([ball(0, 0, 50)], grey, keypoints=[[[81.5, 41.5]]], **options)
    rows, columns = np.nonzero((plain != dotted).any(axis=2))
    assert (columns.mean(), rows.mean()) == pytest.approx((20.0, 10.0), abs=0.3)


@pytest.mark.parametrize(
    "point", [[30, 20, 0], [30, 20, -1], [30, 20, np.nan], [np.nan, 20, 1], [np.inf, 20, 1],
              [-1e9, 20, 1], [30, 1e300, 1]],
)  # fmt: skip
def test_keypoints_that_are_unknown_or_outside_are_left_out(point: list[float]) -> None:
    np.testing.assert_array_equal(
        drawn([ball(0, 0, 4)], keypoints=[[point]]), drawn([ball(0, 0, 4)])
    )


def test_keypoints_on_the_edge_are_cut_off() -> None:
    corners = [[-1, -1], [0, 0], [WIDTH - 1, HEIGHT - 1], [WIDTH + 1, 0], [-2.5, HEIGHT]]
    picture = drawn([ball(0, 0, 4)], keypoints=[corners])
    assert (picture != drawn([ball(0, 0, 4)])).any()
    np.testing.assert_array_equal(picture[:, WIDTH:], drawn([ball(0, 0, 4)])[:, WIDTH:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_bad_persons_neither_crash_nor_paint(bad: float) -> None:
    lost = np.full_like(BALL.vertices, bad)
    both = drawn([ball(0, 0, 4), lost], colours=[RED, GREEN])
    np.testing.assert_array_equal(both, drawn([ball(0, 0, 4)], colours=[RED]))
    np.testing.assert_array_equal(drawn([lost])[:, :WIDTH], photograph())


def test_persons_partly_outside_behind_or_absent_work() -> None:
    assert drawn([ball(2.2, 0, 4, 1.0)]).shape[0] == HEIGHT
    behind = drawn([ball(0, 0, -4)])
    np.testing.assert_array_equal(behind[:, :WIDTH], photograph())
    nobody = drawn(np.zeros((0, len(BALL.vertices), 3)), keypoints=np.zeros((0, 17, 3)))
    np.testing.assert_array_equal(nobody[:, :WIDTH], photograph())


def test_distances_are_colours_with_a_scale() -> None:
    top = BALL.vertices[:, 1] < 0
    picture = drawn([ball(0, 0, 4)], distances=[np.where(top, FULL_M, 0.0)])
    scale = distance_scale(HEIGHT)
    width = scale.shape[1]
    np.testing.assert_array_equal(picture[:, -width:], scale)
    plain = drawn([ball(0, 0, 4)], colours=[distance_colours(0.0)])
    middle = HEIGHT // 2
    # The half without a distance is of the one colour, the other of the last, which is yellow.
    below = slice(middle + 4, None)
    np.testing.assert_array_equal(picture[below, :WIDTH], plain[below, :WIDTH])
    ((row, *_), _) = pixels_of(255 - picture[:middle, :WIDTH], 2)
    assert row < middle
    np.testing.assert_allclose(scale[middle, 2], 255 * distance_colours(FULL_M / 2), atol=3)


def test_farther_is_lighter_and_far_is_all_the_same() -> None:
    colours = distance_colours(np.linspace(0, FULL_M, 200))
    assert colours.shape == (200, 3)
    assert (np.diff(colours @ [0.2126, 0.7152, 0.0722]) > 0).all()
    np.testing.assert_array_equal(distance_colours([FULL_M, 9.0])[0], distance_colours(9.0))


def test_wrong_arrays_are_refused() -> None:
    for keypoints in (np.zeros((2, 3, 2)), np.zeros((1, 3, 4)), np.zeros((3, 2))):
        with pytest.raises(ValueError, match="keypoints must be"):
            drawn([ball(0, 0, 4)], keypoints=keypoints)
    with pytest.raises(ValueError, match="max_side"):
        drawn([ball(0, 0, 4)], max_side=0)
    with pytest.raises(ValueError, match="colours must be"):
        drawn([ball(0, 0, 4)], colours=[RED, GREEN])
    with pytest.raises(TypeError, match="uint8"):
        drawn([ball(0, 0, 4)], photograph() / 255)
