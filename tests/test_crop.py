import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.crop import crop_person, crop_to_image_affine


def gradient(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey levels that are linear in place, so that every mean lies at its centre."""
    return np.stack([20 + 0.14 * x, 220 - 0.17 * y, 40 + 0.06 * x + 0.09 * y], axis=-1)


def gradient_image(width: int, height: int) -> NDArray[np.uint8]:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.rint(gradient(x, y)).astype(np.uint8)


def crop_positions(
    center: tuple[float, float], height: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Image coordinates of each crop pixel's centre."""
    affine = crop_to_image_affine(np.array(center), height)
    x, y = np.meshgrid(np.arange(CROP_WIDTH), np.arange(CROP_HEIGHT))
    return affine[0, 0] * x + affine[0, 2], affine[1, 1] * y + affine[1, 2]


@pytest.mark.parametrize("size", [(1301, 1003), (1300, 1001)])
@pytest.mark.parametrize(
    ("center", "height"),
    [
        ((600.0, 500.0), 60.0),
        ((600.3, 500.8), 255.0),
        ((600.3, 500.8), 256.0),
        ((611.1, 499.6), 390.0),
        ((611.1, 499.6), 511.9),
        ((640.7, 501.2), 512.0),
        ((640.7, 501.2), 769.0),
        ((650.2, 500.9), 998.0),
    ],
)
def test_crop_is_the_image_at_the_places_the_affine_says(
    size: tuple[int, int], center: tuple[float, float], height: float
) -> None:
    crop = crop_person(gradient_image(*size), np.array(center), height)
    error = crop - gradient(*crop_positions(center, height))
    # Half a level in the image, half a level in the crop, and no drift.
    assert np.abs(error).max() < 1.0
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.1


@pytest.mark.parametrize("height", [100.0, 256.0, 600.0, 770.0, 1100.0])
@pytest.mark.parametrize("center", [(1290.4, 900.0), (3.2, 7.9), (1295.0, 15.0)])
def test_crop_over_the_border_is_right_inside_and_black_outside(
    center: tuple[float, float], height: float
) -> None:
    width_px, height_px = 1301, 1003
    crop = crop_person(gradient_image(width_px, height_px), np.array(center), height)
    x, y = crop_positions(center, height)
    half = height / CROP_HEIGHT / 2
    beyond = np.maximum.reduce([-x, -y, x - (width_px - 1), y - (height_px - 1)])
    outside = beyond + half > 0.5 + 0.01
    # At the very border a mean has neighbours on one side only.
    inside = beyond + max(2 * half, 1) < 0
    assert (crop[outside] == 0).all()
    assert np.abs(crop[inside] - gradient(x, y)[inside]).max() < 1.0
    border = ~outside & ~inside
    assert np.abs(crop[border] - gradient(x, y)[border]).max(initial=0) < 2.0 + 0.2 * half
    assert outside.any()
    assert inside.any()


def test_crop_at_its_own_size_is_an_exact_copy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    crop = crop_person(image, np.array([20 + 95.5, 70 + 127.5]), 256.0)
    np.testing.assert_array_equal(crop, image[70 : 70 + 256, 20 : 20 + 192])


@pytest.mark.parametrize("height", [40.0, 256.0, 300.0, 500.0])
@pytest.mark.parametrize("x", [190.0, 211.37])
def test_crop_depends_on_the_neighbourhood_as_in_a_resized_photograph(
    x: float, height: float
) -> None:
    image = np.random.default_rng(3).integers(0, 256, (601, 403, 3), np.uint8)
    crop = crop_person(image, np.array([x, 300.0]), height)
    # Pillow counts from the edge of the first pixel.
    half_width, half_height = height * 3 / 8, height / 2
    box = (x + 0.5 - half_width, 300.5 - half_height, x + 0.5 + half_width, 300.5 + half_height)
    resized = Image.fromarray(image).resize((192, 256), Image.Resampling.BILINEAR, box)
    assert np.abs(crop.astype(int) - np.asarray(resized)).max() <= 1


@pytest.mark.parametrize(("left", "top"), [(-50, -3), (150, 200), (0, 0), (108, 144)])
def test_crop_at_its_own_size_over_the_border_is_a_padded_copy(left: int, top: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, (400, 300, 3), np.uint8)
    crop = crop_person(image, np.array([left + 95.5, top + 127.5]), 256.0)
    padded = np.pad(image, ((300, 300), (300, 300), (0, 0)))
    expected = padded[300 + top : 300 + top + 256, 300 + left : 300 + left + 192]
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("factor", [2, 3])
def test_blocks_of_a_larger_image_land_in_their_places(factor: int) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    image = np.kron(blocks, np.ones((32 * factor, 32 * factor, 1), np.uint8))
    height, width = image.shape[:2]
    crop = crop_person(image, np.array([(width - 1) / 2, (height - 1) / 2]), height)
    # Two crop pixels along each side of a block mix with its neighbours.
    core = crop.reshape(8, 32, 6, 32, 3)[:, 2:-2, :, 2:-2]
    np.testing.assert_array_equal(core, np.broadcast_to(blocks[:, None, :, None], core.shape))


@pytest.mark.parametrize("height", [700.0, 256 * 1.9, 256 * 2.1])
def test_fine_stripes_are_averaged_rather_than_skipped(height: float) -> None:
    image = np.zeros((900, 900, 3), np.uint8)
    image[:, ::2] = 255
    crop = crop_person(image, np.array([450.0, 450.0]), height).astype(float)
    assert np.abs(crop - 127.5).max() < 30


def test_mirrored_image_gives_the_mirrored_crop() -> None:
    image = np.random.default_rng(1).integers(0, 256, (301, 401, 3), np.uint8)
    crop = crop_person(image, np.array([170.3, 140.2]), 310.7)
    mirrored = crop_person(image[:, ::-1], np.array([400 - 170.3, 140.2]), 310.7)
    assert np.abs(crop[:, ::-1].astype(int) - mirrored).max() <= 1


@pytest.mark.parametrize("center", [(-5000.0, 100.0), (100.0, 1e9), (-150.0, -200.0)])
@pytest.mark.parametrize("height", [5.0, 256.0])
def test_box_beside_the_image_is_black(center: tuple[float, float], height: float) -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    crop = crop_person(image, np.array(center), height)
    assert crop.shape == (256, 192, 3)
    assert not crop.any()


@pytest.mark.parametrize("height", [3e3, 1e6, 1e12])
def test_box_far_larger_than_the_image_takes_no_memory(height: float) -> None:
    crop = crop_person(np.full((300, 200, 3), 255, np.uint8), np.array([100.0, 150.0]), height)
    assert crop.shape == (256, 192, 3)
    assert crop.any() == (height == 3e3)


def test_a_box_tiny_against_a_pixel_is_flat() -> None:
    image = np.random.default_rng(2).integers(0, 256, (9, 9, 3), np.uint8)
    crop = crop_person(image, np.array([4.0, 4.0]), 1e-3)
    assert np.abs(crop.astype(int) - image[4, 4]).max() <= 1


def test_crop_can_be_written_to_and_the_image_is_left_alone() -> None:
    image = gradient_image(300, 400)
    image.flags.writeable = False
    crop = crop_person(image, np.array([150.0, 200.0]), 300.0)
    assert crop.flags.writeable
    assert crop.flags.c_contiguous
    assert crop.dtype == np.uint8


@pytest.mark.parametrize(
    ("center", "height"),
    [
        ((math.nan, 1.0), 256.0),
        ((1.0, math.inf), 256.0),
        ((1.0, 1.0), math.nan),
        ((1.0, 1.0), 0.0),
        ((1.0, 1.0), -256.0),
    ],
)
def test_boxes_that_are_none_are_refused(center: tuple[float, float], height: float) -> None:
    with pytest.raises(ValueError, match="expected finite and positive"):
        crop_person(gradient_image(300, 400), np.array(center), height)


def test_affine_is_in_double_precision_for_a_centre_in_single() -> None:
    center = np.array([4000.3, 3000.7], np.float32)
    np.testing.assert_array_equal(
        crop_to_image_affine(center, 777.0), crop_to_image_affine(center.astype(float), 777.0)
    )
