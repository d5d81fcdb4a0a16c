"""Images of synthetic people, drawn directly into their crops."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.data.synthetic.clothing import Landmarks, dress
from dualhmr_training.data.synthetic.degradations import Appearance, degrade
from dualhmr_training.data.synthetic.people import People
from dualhmr_training.data.synthetic.poses import SeededRandom
from dualhmr_training.data.synthetic.surfaces import VisibleSurfaces, crop_pixels
from dualhmr_training.data.synthetic.surroundings import (
    background,
    is_whole,
    occluder,
    with_bystander,
)
from dualhmr_training.data.synthetic.textures import texture, to_bytes


class Crops(NamedTuple):
    """N crops of 256 x 192 pixels, and where the person and an occluder are in each."""

    images: Tensor
    """(N, 256, 192, 3) uint8 sRGB, black outside of the photograph."""
    person: Tensor
    """(N, 256, 192) bool: the person's pixels, also those behind an occluder."""
    occluded: Tensor
    """(N, 256, 192) bool: the occluder's pixels, also those beside the person."""


class _Figure(NamedTuple):
    """A person as drawn: pixels (P,) and their colours (3, P)."""

    pixels: NDArray[np.intp]
    colours: NDArray[np.uint8]


def render_people(
    body: Body,
    people: People,
    appearance: Appearance,
    rng: SeededRandom,
    *,
    only: slice = slice(None),
) -> Crops:
    """Draws each person as `people.view` sees them, in front of their own background.

    All random numbers come from `rng`. `only` draws some of the people; their crops are the same
    as if all were drawn.
    """
    indices = range(len(people.betas))
    # One generator per person: a crop does not depend on which other crops are drawn.
    rngs = [np.random.default_rng(seed) for seed in rng.integers(2**62, len(indices)).tolist()]
    landmarks, windows = Landmarks.of(body), _image_windows(people)
    surfaces = VisibleSurfaces(body, people)

    @cache
    def figure(i: int) -> _Figure:
        surface = surfaces.of(i)
        shade = dress(rngs[i], surface, landmarks) * _light(rngs[i], surface.normal)
        return _Figure(surface.pixels, to_bytes(shade))

    def bystander(i: int) -> _Figure | None:
        candidates = (figure(j) for j in rngs[i].permutation(indices).tolist() if j != i)
        return next((other for other in candidates if is_whole(other.pixels)), None)

    drawn, size = indices[only], (CROP_HEIGHT, CROP_WIDTH)
    images = np.empty((len(drawn), *size, 3), np.uint8)
    person, occluded = (np.zeros((len(drawn), *size), np.bool_) for _ in range(2))
    for row, i in enumerate(drawn):
        # `figure` comes first: it may already have been called for a bystander, so a person's
        # generator must begin with clothes and light in every case.
        own_rng, own = rngs[i], figure(i)
        picture = background(own_rng, clutter=appearance.clutter)
        if own_rng.random() < appearance.bystander and (other := bystander(i)):
            picture = with_bystander(own_rng, picture, *other)
        person[row] = _only_in(windows[i], _painted(picture, *own))
        if own_rng.random() < appearance.occluded:
            hidden = own_rng.uniform(0, appearance.max_hidden)
            occluded[row] = occluder(own_rng, person[row], hidden)
            _cover(own_rng, picture, occluded[row])
        images[row] = _only_in(windows[i], degrade(own_rng, picture, appearance.degradation))
    return Crops(*map(torch.from_numpy, (images, person, occluded)))


def _painted(
    picture: NDArray[np.uint8], pixels: NDArray[np.intp], colours: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Paints pixels (P,) of an image in place, in colours (3, P); returns their mask (256, 192)."""
    for channel in range(3):  # one after another is three times as fast as all at once
        picture.reshape(-1)[channel::3][pixels] = colours[channel]
    mask = np.zeros(picture.shape[:2], np.bool_)
    mask.reshape(-1)[pixels] = True
    return mask


def _cover(rng: np.random.Generator, picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Paints the mask (256, 192) of an image, in place, with a random material."""
    pixels = np.flatnonzero(mask)
    if len(pixels):
        rows = slice(pixels[0] // CROP_WIDTH, pixels[-1] // CROP_WIDTH + 1)
        material = to_bytes(texture(rng, rows)).reshape(3, -1)
        _painted(picture, pixels, material.take(pixels - rows.start * CROP_WIDTH, axis=1))


def _light(rng: np.random.Generator, normal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light (3, P) on a surface: a lamp, mostly from the front and above, and the sky."""
    lamp = rng.normal((0, -1.0, -1.2), 1)
    lamp /= np.linalg.norm(lamp)
    # Wrapped diffuse shading: light reaches a little around the terminator, as from a large lamp.
    wrap = np.float32(rng.uniform(0.1, 1.0))
    key = np.maximum(lamp.astype(np.float32) @ normal + wrap, 0) / (1 + wrap)
    sky = np.float32(0.65) - np.float32(0.35) * normal[1]
    share = rng.uniform(0.3, 0.8)
    exposure = rng.uniform(0.75, 1.3)
    tint = rng.uniform(-0.08, 0.08) * np.array([1, 0, -1])
    colours = exposure * np.stack([share * (1 + tint), (1 - share) * (1 - tint)], axis=1)
    return colours.astype(np.float32) @ np.stack([key, sky])


def _image_windows(people: People) -> list[tuple[slice, slice]]:
    """The rows and columns of each crop whose pixels are completely inside the photograph."""
    corners = torch.stack([-people.half_image, people.half_image], dim=1)
    low, high = (crop_pixels(corners, people) + 0.5).unbind(1)
    low = low.ceil().clamp(min=0).long()
    high = torch.maximum(low, high.floor().long())
    return [
        (slice(top, bottom), slice(left, right))
        for (left, top), (right, bottom) in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _only_in(window: tuple[slice, slice], picture: NDArray[Any]) -> NDArray[Any]:
    """A copy of an image or a mask that is zero outside the window."""
    inside = np.zeros_like(picture)
    inside[window] = picture[window]
    return inside
