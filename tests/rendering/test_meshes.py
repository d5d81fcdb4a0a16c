import numpy as np
import pytest
from helpers.solids import sphere, sphere_outline_area
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dualhmr.rendering import meshes, render_meshes

HEIGHT, WIDTH = 120, 160
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
BALL = sphere(detail=3)


def noise(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def black(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def two_balls(first: float, second: float) -> NDArray[np.float64]:
    return np.stack([sphere((0, 0, depth), detail=3).vertices for depth in (first, second)])


def drawn(vertices: NDArray[np.float64], **options: object) -> NDArray[np.uint8]:
    defaults: dict[str, object] = {
        "focal_length": np.full(len(vertices), 150.0),
        "principal_point": np.tile([79.5, 59.5], (len(vertices), 1)),
        "background": black(),
    }
    return render_meshes(vertices, BALL.faces, **(defaults | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("depths", "focal_lengths", "in_front"),
    [
        ((4.0, 6.0), (150.0, 150.0), RED),
        ((6.0, 4.0), (150.0, 150.0), GREEN),
        # A person twice as far, before a lens three times as long, appears larger: nearer.
        ((8.0, 4.0), (300.0, 100.0), RED),
        ((4.0, 8.0), (100.0, 300.0), GREEN),
    ],
)
def test_metres_per_pixel_decide_who_is_in_front(
    depths: tuple[float, float],
    focal_lengths: tuple[float, float],
    in_front: tuple[float, float, float],
) -> None:
    picture = drawn(two_balls(*depths), focal_length=focal_lengths, colours=[RED, GREEN])
    middle = picture[HEIGHT // 2, WIDTH // 2] / picture[HEIGHT // 2, WIDTH // 2].max()
    np.testing.assert_array_equal(middle, in_front)


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_the_order_of_persons_does_not_matter(opacity: float) -> None:
    vertices = two_balls(4.0, 5.0)
    vertices[1, :, 0] += 0.7
    colours = np.array([RED, GREEN])
    options = {"background": noise(), "opacity": opacity}
    one = drawn(vertices, colours=colours, **options)
    other = drawn(vertices[::-1], colours=colours[::-1], **options)
    np.testing.assert_array_equal(one, other)


@given(left=st.integers(-60, 60), top=st.integers(-40, 40))
@settings(deadline=None, max_examples=20)
def test_moving_the_principal_point_moves_the_picture(left: int, top: int) -> None:
    ball = BALL.vertices[None] * 0.5 + (0.1, -0.05, 4.0)
    large = drawn(ball, background=black(240, 320), principal_point=(159.5, 119.5))
    moved = drawn(ball, principal_point=(79.5 + left, 59.5 + top))
    window = large[60 - top : 180 - top, 80 - left : 240 - left]
    # Rounding may send a sample on an outline to the other side.
    assert (moved != window).any(axis=2).sum() <= 2


def test_a_crop_of_the_picture_is_the_picture_of_the_crop() -> None:
    vertices = two_balls(4.0, 5.0)
    whole = drawn(vertices, background=noise())
    crop = drawn(vertices, background=noise()[30:90, 50:], principal_point=(29.5, 29.5))
    assert (whole[30:90, 50:] != crop).any(axis=2).sum() <= 2


def test_the_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices = two_balls(4.0, 5.0)
    whole = drawn(vertices, background=noise(), opacity=0.7)
    monkeypatch.setattr(meshes, "BAND_ROWS", 7)
    banded = drawn(vertices, background=noise(), opacity=0.7)
    assert (whole != banded).any(axis=2).sum() <= 2


def test_outlines_are_smooth() -> None:
    """The shares of pixels that are covered add up to the area more exactly than whole pixels."""
    centre, radius = (0.3, 0.2, 5.0), 0.8
    vertices = sphere(centre, radius, detail=5)
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    options = {"focal_length": 150.0, "principal_point": (79.5, 59.5), "colours": [RED]}
    picture = render_meshes(vertices.vertices[None], vertices.faces, background=white, **options)  # type: ignore[arg-type]
    # Red leaves nothing of the background's green.
    covered = (1 - picture[..., 1] / 255).sum()
    assert covered == pytest.approx(sphere_outline_area(centre, radius, 150.0), rel=0.01)
    assert len(np.unique(picture[..., 1])) > 2


def test_opacity_mixes_with_the_background() -> None:
    ball = two_balls(4.0, 5.0)[:1]
    over_noise = drawn(ball, background=noise())
    np.testing.assert_array_equal(over_noise[60, 80], drawn(ball)[60, 80])
    np.testing.assert_array_equal(drawn(ball, background=noise(), opacity=0.0), noise())
    half = drawn(ball, background=noise(), opacity=0.5)[60, 80].astype(float)
    expected = (over_noise[60, 80].astype(float) + noise()[60, 80]) / 2
    np.testing.assert_allclose(half, expected, atol=1)


def test_the_background_is_left_as_it_is() -> None:
    background = noise()
    picture = drawn(two_balls(4.0, 5.0), background=background)
    np.testing.assert_array_equal(background, noise())
    np.testing.assert_array_equal(picture[:20], background[:20])
    assert (picture[60, 80] != background[60, 80]).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308])
def test_bad_vertices_neither_crash_nor_paint(bad: float) -> None:
    vertices = two_balls(4.0, 5.0)
    vertices[1] = bad
    colours = np.array([RED, GREEN])
    picture = drawn(vertices, colours=colours)
    np.testing.assert_array_equal(picture, drawn(vertices[:1], colours=colours[:1]))
    assert not picture[..., 1].any()
    vertices[0, ::3] = bad
    assert not drawn(vertices, colours=colours)[..., 1].any()


def test_persons_behind_the_camera_are_not_drawn() -> None:
    np.testing.assert_array_equal(drawn(two_balls(-4.0, -0.5)[:1]), black())
    around_the_camera = drawn(two_balls(0.0, 4.0)[:1])
    np.testing.assert_array_equal(around_the_camera, black())


def test_no_persons_are_fine() -> None:
    vertices = np.zeros((0, len(BALL.vertices), 3))
    np.testing.assert_array_equal(drawn(vertices, background=noise()), noise())


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (10, 20)])
def test_tiny_pictures_work(size: tuple[int, int]) -> None:
    picture = drawn(
        two_balls(4.0, 5.0), background=black(*size), principal_point=(size[1] / 2, size[0] / 2)
    )
    assert picture.shape == (*size, 3)
    assert picture.any()


def test_wrong_arrays_are_refused() -> None:
    vertices = two_balls(4.0, 5.0)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"focal_length": [100.0, 100.0, 100.0]}, "focal_length"),
        ({"focal_length": [100.0, 0.0]}, "positive"),
        ({"focal_length": [100.0, np.nan]}, "finite"),
        ({"principal_point": [1.0]}, "principal_point"),
        ({"colours": [RED]}, "colours"),
        ({"opacity": 1.5}, "opacity"),
        ({"background": black()[..., 0]}, "picture"),
        ({"background": black()[:0]}, "empty"),
    ]
    for options, words in wrong:
        with pytest.raises(ValueError, match=words):
            drawn(vertices, **options)
    with pytest.raises(ValueError, match=r"vertices must be \(P, V, 3\)"):
        drawn(vertices[0])
    with pytest.raises(TypeError, match="uint8"):
        drawn(vertices, background=black() / 255)
    with pytest.raises(ValueError, match="faces must name vertices"):
        render_meshes(
            vertices, [[0, 1, 9999]], focal_length=1, principal_point=(0, 0), background=black()
        )
