import numpy as np
import pytest
from helpers.spin_files import photograph
from numpy.typing import NDArray

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.crop import crop_person
from dualhmr_training.data.augmentation import UNCHANGED, Change, crop_changed

TURNED = [
    Change(angle=0.5),
    Change(angle=-1.0, scale=1.25),
    Change(angle=0.3, mirror=True),
    Change(angle=-0.7, mirror=True, scale=0.75),
]


WIDTH, HEIGHT = 651, 501
# Levels per pixel along x and y, for each channel.
SLOPES = np.array([[0.24, 0.16], [-0.24, 0.16], [0.24, -0.16]])


def gradient(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels that are linear in place, so that every mean lies at its centre."""
    return 127 + np.stack([x - 325, y - 250], axis=-1) @ SLOPES.T


def gradient_image() -> NDArray[np.uint8]:
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.rint(gradient(x, y)).astype(np.uint8)


def positions(
    center: tuple[float, float], height: float, change: Change
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Image coordinates of each crop pixel's centre."""
    u, v = np.meshgrid(np.arange(CROP_WIDTH), np.arange(CROP_HEIGHT))
    offset = np.stack([u - (CROP_WIDTH - 1) / 2, v - (CROP_HEIGHT - 1) / 2], axis=-1)
    offset = offset @ np.linalg.inv(change.in_plane).T * (change.scale * height / CROP_HEIGHT)
    return center[0] + offset[..., 0], center[1] + offset[..., 1]


@pytest.mark.parametrize("change", TURNED)
@pytest.mark.parametrize("height", [60.0, 255.7, 256.0, 390.0, 600.0])
@pytest.mark.parametrize("center", [(325.3, 250.8), (330.0, 245.5), (3.2, 480.1)])
def test_the_crop_is_the_image_at_the_places_that_the_change_says(
    center: tuple[float, float], height: float, change: Change
) -> None:
    crop = crop_changed(gradient_image(), np.array(center), height, change)
    assert crop.shape == (256, 192, 3)
    assert crop.dtype == np.uint8
    x, y = positions(center, height, change)
    beyond = np.maximum.reduce([-x, -y, x - (WIDTH - 1), y - (HEIGHT - 1)])
    margin = 2 * max(1.0, change.scale * height / CROP_HEIGHT)
    assert (crop[beyond > margin] == 0).all()
    inside = beyond < -margin
    error = (crop - gradient(x, y))[inside]
    assert len(error) > 3000
    assert np.abs(error).max() < 2
    # Pillow rounds down when it turns, so all is a little darker; but nothing is shifted.
    shift_x, shift_y, darker = np.linalg.solve(
        np.column_stack([SLOPES, np.ones(3)]), error.mean(axis=0)
    )
    assert np.hypot(shift_x, shift_y) < 0.03 * max(1.0, height / CROP_HEIGHT)
    assert -0.6 < darker <= 0


def test_without_turning_it_is_the_crop_of_test_time() -> None:
    image = photograph()
    center = np.array([155.3, 201.9])
    plain = crop_person(image, center, 310.0)
    np.testing.assert_array_equal(crop_changed(image, center, 310.0, UNCHANGED), plain)
    mirrored = crop_changed(image, center, 310.0, Change(mirror=True))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    assert mirrored.flags.c_contiguous
    larger = crop_changed(image, center, 310.0, Change(scale=1.1))
    np.testing.assert_array_equal(larger, crop_person(image, center, 310.0 * 1.1))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("height", [200.0, 256.0, 340.0])
def test_turning_by_next_to_nothing_is_next_to_the_same(height: float, mirror: bool) -> None:
    image, center = photograph(), np.array([160.2, 199.7])
    turned = crop_changed(image, center, height, Change(mirror=mirror, angle=1e-9))
    upright = crop_changed(image, center, height, Change(mirror=mirror))
    assert np.abs(turned.astype(int) - upright)[8:-8, 8:-8].mean() < 1.5


def test_half_a_turn_is_the_crop_upside_down() -> None:
    image, center = photograph(), np.array([160.0, 200.0])
    turned = crop_changed(image, center, 256.0, Change(angle=np.pi))
    upright = crop_changed(image, center, 256.0, UNCHANGED)
    assert np.abs(turned[::-1, ::-1].astype(int) - upright).max() <= 3


def test_fine_stripes_are_averaged_rather_than_skipped() -> None:
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255
    crop = crop_changed(image, np.array([600.0, 600.0]), 512.0, Change(angle=0.4))
    assert np.abs(crop.astype(float) - 127.5).max() < 40


@pytest.mark.parametrize("center", [(-5000.0, 100.0), (100.0, 1e7), (-200.0, -220.0)])
@pytest.mark.parametrize("height", [5.0, 200.0])
def test_a_box_beside_the_image_is_black(center: tuple[float, float], height: float) -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    crop = crop_changed(image, np.array(center), height, Change(angle=0.5))
    assert crop.shape == (256, 192, 3)
    assert not crop.any()


@pytest.mark.parametrize("height", [3e3, 1e6, 1e9])
def test_a_box_far_larger_than_the_image_takes_no_memory(height: float) -> None:
    image = np.full((300, 200, 3), 255, np.uint8)
    crop = crop_changed(image, np.array([100.0, 150.0]), height, Change(angle=0.5))
    assert crop.mean() < 255 * 0.05
    assert crop.any() == (height == 3e3)


def test_the_image_is_left_alone_and_the_crop_can_be_written_to() -> None:
    image = photograph()
    image.flags.writeable = False
    crop = crop_changed(image, np.array([150.0, 200.0]), 300.0, Change(angle=0.5))
    assert crop.flags.writeable
