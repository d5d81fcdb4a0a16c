"""Crops as the releases make them, against restatements in a few lines of NumPy."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from dualhmr.crop import CROP_CONVENTIONS, crop_person
from dualhmr.images import load_image

WIDTH, HEIGHT = 192, 256


def sampled(image: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray:
    """`image` at (x[j], y[i]), bilinear in float64; black outside."""
    padded = np.pad(image.astype(float), ((2, 2), (2, 2), (0, 0)))
    x, y = np.clip(x, -2, image.shape[1] + 0.999) + 2, np.clip(y, -2, image.shape[0] + 0.999) + 2
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    a, b = (x - left)[None, :, None], (y - top)[:, None, None]
    corner = [[padded[top[:, None] + i, left + j] for j in (0, 1)] for i in (0, 1)]
    upper = (1 - a) * corner[0][0] + a * corner[0][1]
    lower = (1 - a) * corner[1][0] + a * corner[1][1]
    return (1 - b) * upper + b * lower


def meta_hmr(image: NDArray[np.uint8], center: tuple[float, float], height: float) -> NDArray:
    scale = height / HEIGHT
    x, y = (
        center[0] + scale * (np.arange(WIDTH) - 96),
        center[1] + scale * (np.arange(HEIGHT) - 128),
    )
    return sampled(image, x, y)


def cliff(image: NDArray[np.uint8], center: tuple[float, float], height: float) -> NDArray:
    """The whole box as a picture of its own, whole pixels, then resized."""
    width = height * WIDTH / HEIGHT
    left, right = (round(center[0] + side * width / 2) for side in (-1, 1))
    top, bottom = (round(center[1] + side * height / 2) for side in (-1, 1))
    box = np.zeros((bottom - top, right - left, 3), np.uint8)
    for row in range(max(top, 0), min(bottom, image.shape[0])):
        for column in range(max(left, 0), min(right, image.shape[1])):
            box[row - top, column - left] = image[row, column]
    x = (np.arange(WIDTH) + 0.5) * (right - left) / WIDTH - 0.5
    y = (np.arange(HEIGHT) + 0.5) * (bottom - top) / HEIGHT - 0.5
    return sampled(box, np.clip(x, 0, right - left - 1), np.clip(y, 0, bottom - top - 1))


def spin(image: NDArray[np.uint8], center: tuple[float, float], height: float) -> NDArray:
    """The whole box as a picture of floats, stretched to 0..255, then Pillow's resize."""
    left, right, top, bottom = (
        int(center[i] + side * height / 2) for i in (0, 1) for side in (-1, 1)
    )
    box = np.zeros((bottom - top, right - left, 3))
    for row in range(max(top, 0), min(bottom, image.shape[0])):
        for column in range(max(left, 0), min(right, image.shape[1])):
            box[row - top, column - left] = image[row, column]
    stretched = (box - box.min()) * (255 / (box.max() - box.min()))
    picture = Image.fromarray((stretched + 0.5).astype(np.uint8))
    return np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR)).astype(float)


def hmr2(image: NDArray[np.uint8], center: tuple[float, float], height: float) -> NDArray:
    """The square crop of 256 pixels, of the whole image after a blur; columns 32 to 223 of it."""
    blurred = image.astype(float)
    if height / 512 > 1.1:
        sigma = (height / 512 - 1) / 2
        blurred = gaussian_filter(blurred, (sigma, sigma, 0), mode="nearest", truncate=4.0)
    x, y = (middle + (np.arange(256) - 128) * height / 256 for middle in center)
    return sampled(blurred, x, y)[:, 32:224]


RESTATED: dict[str, Callable[..., NDArray]] = {
    "meta_hmr": meta_hmr,
    "cliff": cliff,
    "spin": spin,
    "hmr2": hmr2,
}


@pytest.mark.parametrize("convention", RESTATED)
@pytest.mark.parametrize(
    ("center", "height"),
    [
        ((60.3, 80.7), 90.0),
        ((60.0, 80.0), 256.0),
        ((20.2, 150.9), 131.7),
        ((70.0, 60.0), 33.3),
        ((66.3, 84.1), 611.9),
        ((50.0, 90.5), 900.0),
        ((110.0, 20.0), 2222.2),
    ],
    ids=[
        "inside",
        "crop's own size",
        "at a corner",
        "small",
        "larger than the image",
        "much larger",
        "far larger",
    ],
)
def test_as_restated(convention: str, center: tuple[float, float], height: float) -> None:
    image = np.random.default_rng(0).integers(40, 220, (170, 130, 3), dtype=np.uint8)
    crop = crop_person(image, np.array(center), height, convention=convention)
    expected = RESTATED[convention](image, center, height)
    assert np.abs(crop - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("center", "height"), [((20.2, 150.9), 531.7), ((66.3, 84.1), 911.9), ((-80.0, 90.0), 300.0)]
)
def test_spin_s_boxes_far_larger_than_the_image(
    center: tuple[float, float], height: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a part of them goes into memory, and Pillow has its edges in 24 bits."""
    image = np.random.default_rng(0).integers(40, 220, (170, 130, 3), dtype=np.uint8)
    expected = crop_person(image, np.array(center), height, convention="spin").astype(int)
    monkeypatch.setattr("dualhmr.crop.whole_pixels._WHOLE_BOX", 0)
    off = np.abs(crop_person(image, np.array(center), height, convention="spin") - expected)
    assert off.max() <= 2
    assert off.mean() < 0.05


@pytest.mark.parametrize(("convention", "step"), [("cliff", 0.5), ("spin", 1.0)])
def test_corners_between_two_pixels(convention: str, step: float) -> None:
    """They fall as the release's matrices round them: half a pixel is not always to even.

    The picture's rows and columns are numbered, so the first and last tell where the box begins.
    """
    across, down = np.meshgrid(np.arange(240), np.arange(240))
    image = np.stack([across, down, np.zeros_like(across)], axis=-1).astype(np.uint8)
    size = {"cliff": (256, 192), "spin": (224, 224)}[convention]
    whole = {"cliff": np.rint, "spin": np.trunc}[convention]
    rng, moved = np.random.default_rng(0), 0
    for _ in range(60):
        # Boxes larger than the crop would be seen through more than a pixel.
        center = rng.integers(70 / step, 110 / step, 2) * step
        height = rng.integers(20 / step, 120 / step) * step
        extent = np.array([height / (size[0] / size[1]), height])
        to_crop = np.eye(3)
        to_crop[[0, 1], [0, 1]] = size[::-1] / extent
        to_crop[:2, 2] = size[::-1] * (-center / extent + 0.5)
        corner = (np.linalg.inv(to_crop) @ (0, 0, 1))[:2]
        crop = crop_person(image, center, height, convention=convention)
        low = crop[0, 0, :2].astype(float)
        if convention == "spin":  # undo the stretching
            last = whole((np.linalg.inv(to_crop) @ (224, 224, 1))[:2]) - 1
            low = np.rint(low / 255 * last.max())
        np.testing.assert_array_equal(low, whole(corner))
        moved += (whole(corner) != whole(center - extent / 2)).any()
    assert moved


def test_spin_s_crops_of_flat_and_of_dark_pictures() -> None:
    flat, dark = np.full((300, 300, 3), 90, np.uint8), np.zeros((300, 300, 3), np.uint8)
    inside, sticking_out = (np.array([150.0, 150.0]), 200.0), (np.array([10.0, 10.0]), 200.0)
    assert not crop_person(flat, *inside, convention="spin").any()  # all are the least value
    assert crop_person(flat, *sticking_out, convention="spin")[-1, -1].tolist() == [255] * 3
    dark[150, 150] = 3
    assert crop_person(dark, *inside, convention="spin").max() > 200


@pytest.mark.parametrize("height", [3e4, 1e12, 1e300])
def test_an_image_that_is_a_dot_in_its_box(height: float) -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    for convention in CROP_CONVENTIONS:
        crop = crop_person(image, np.array([50.0, 50.0]), height, convention=convention)
        assert np.count_nonzero(crop) <= 27


def test_the_conventions_differ_and_an_unknown_one_is_an_error() -> None:
    image = np.random.default_rng(1).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    box = np.array([150.2, 200.7]), 210.3
    crops = [crop_person(image, *box, convention=each).astype(int) for each in CROP_CONVENTIONS]
    assert crops.pop(list(CROP_CONVENTIONS).index("spin")).shape == (224, 224, 3)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(crops[one] - crops[other]).mean() > 5
    with pytest.raises(ValueError, match="unknown crop convention 'hmr3'; known are dualhmr, meta"):
        crop_person(image, *box, convention="hmr3")


@pytest.mark.parametrize("convention", CROP_CONVENTIONS)
@pytest.mark.parametrize("center", [(-1e6, 50.0), (1e30, 50.0), (50.0, -400.0)])
def test_boxes_outside_are_black(convention: str, center: tuple[float, float]) -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    assert not crop_person(image, np.array(center), 120.0, convention=convention).any()


def test_the_release_s_crops_of_photographs(shared_folder: Path) -> None:
    folder = shared_folder / "goldens"
    facts = json.loads((folder / "goldens.json").read_text())
    with np.load(folder / "people.npz") as people:
        for number, name in enumerate(facts["photographs"]):
            crop = crop_person(
                load_image(shared_folder / "photos" / name),
                people["box_center"][number].astype(float),
                float(people["box_scale"][number]) * 200,
                convention="meta_hmr",
            )
            off = np.abs(crop.astype(int) - people["crops"][number])
            assert off.mean() < 0.1
            assert off.max() <= 2
