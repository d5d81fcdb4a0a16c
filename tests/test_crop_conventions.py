"""Crops as the releases make them, against restatements in a few lines of NumPy."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

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


RESTATED: dict[str, Callable[..., NDArray]] = {"meta_hmr": meta_hmr, "cliff": cliff}


@pytest.mark.parametrize("convention", RESTATED)
@pytest.mark.parametrize(
    ("center", "height"),
    [((60.3, 80.7), 90.0), ((60.0, 80.0), 256.0), ((20.2, 150.9), 131.7), ((70.0, 60.0), 33.3)],
    ids=["inside", "crop's own size", "at a corner", "small"],
)
def test_as_restated(convention: str, center: tuple[float, float], height: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (170, 130, 3), dtype=np.uint8)
    crop = crop_person(image, np.array(center), height, convention=convention)
    assert np.abs(crop - RESTATED[convention](image, center, height)).max() <= 0.51


def test_the_conventions_differ_and_an_unknown_one_is_an_error() -> None:
    image = np.random.default_rng(1).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    box = np.array([150.2, 200.7]), 210.3
    crops = [crop_person(image, *box, convention=each).astype(int) for each in CROP_CONVENTIONS]
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
