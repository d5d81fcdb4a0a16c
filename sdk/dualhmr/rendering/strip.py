"""One person after each step of test-time optimisation, side by side (Figure 4 of the paper)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.rendering.distance_colours import distance_colours, distance_scale
from dualhmr.rendering.meshes import draw_scene
from dualhmr.rendering.pictures import blank, check_picture, resize, with_words
from dualhmr.rendering.scene import Scene, bounds

# Around the person, as a share of its larger side.
MARGIN = 0.08

# How far a crop may reach beyond the photograph's edges, as a share of the photograph.
OVERHANG = 0.15

BEYOND = (233, 233, 229)

# Width over height of a panel stays between these.
NARROWEST, WIDEST = 0.5, 1.6

# Of the panel's height: the gap between panels, and the line of words below them.
GAP, WORDS = 0.02, 0.09


class Crop(NamedTuple):
    """A window of a picture in whole pixels; it may reach beyond the picture's edges."""

    left: int
    top: int
    width: int
    height: int


def step_strip(
    image: NDArray[np.uint8],
    step_vertices: ArrayLike,
    faces: ArrayLike,
    *,
    focal_length: float,
    principal_point: ArrayLike,
    labels: Sequence[str] | None = None,
    colour: ArrayLike | None = None,
    distances: ArrayLike | None = None,
    opacity: float = 0.9,
    title: str = "input",
    panel_height: int = 360,
    max_panels: int = 7,
) -> NDArray[np.uint8]:
    """Draw the input and the person's mesh after each step, in panels of one size.

    Where there are more steps than panels, it shows the first ones, where most happens, and the
    final one.

    Args:
        image: (H, W, 3) uint8 sRGB, the whole photograph; panels show the part with the person.
        step_vertices: (S, V, 3) metres, one person before the first step and after each,
            camera frame (x right, y down, z forward).
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        focal_length: pixels of the image, or (S,) where the camera changes with the steps.
        principal_point: (2,) or (S, 2) pixels; (0, 0) is the centre of the first pixel.
        labels: S short words; "step 0", "step 1", ..., "final" by default.
        colour: (3,) sRGB in [0, 1]; the palette's first by default.
        distances: (S, V) metres, shown as colours of the vertices, with a scale to the right.
        opacity: of the meshes, 0 to 1.
        title: below the first panel, the input.
        panel_height: pixels.
        max_panels: at most so many panels, the input's included; at least 2.

    Returns:
        The strip (H', W', 3), a little higher than `panel_height` for the words below.

    Raises:
        TypeError: the image is not of uint8.
        ValueError: a shape or a camera is wrong (see `Scene.checked`), there is no step, the
            labels are not S, or a size is too small.
    """
    scene = Scene.checked(
        step_vertices, faces, focal_length=focal_length, principal_point=principal_point
    )
    check_picture(image)
    steps = len(scene.vertices)
    if steps == 0:
        raise ValueError("step_vertices must hold at least one step, got none")
    words = step_words(steps) if labels is None else list(labels)
    if len(words) != steps:
        raise ValueError(f"labels must be {steps}, one a step, got {len(words)}")
    if panel_height < 16 or max_panels < 2:
        raise ValueError(
            "panel_height must be at least 16 and max_panels at least 2, "
            f"got {panel_height} and {max_panels}"
        )
    shown = shown_steps(steps, max_panels)
    crop = _crop_around(scene.select(shown), image.shape[0], image.shape[1])
    scale = panel_height / crop.height
    width = max(round(crop.width * scale), 1)
    panel = resize(_cut(image, crop), panel_height, width)
    near = scene.resampled(scale, left=crop.left, top=crop.top)
    line_height = WORDS * panel_height
    panels = [with_words(panel, title, line_height)]
    for step in shown:
        drawn = panel.copy()
        colours = None if colour is None else np.asarray(colour)[None]
        if distances is not None:
            colours = distance_colours(np.asarray(distances)[[step]])
        draw_scene(near.select([step]), drawn, colours=colours, opacity=opacity)
        panels.append(with_words(drawn, words[step], line_height))
    if distances is not None:
        panels.append(with_words(distance_scale(panel_height), "", line_height))
    return _in_a_row(panels, round(GAP * panel_height))


def step_words(steps: int) -> list[str]:
    """The labels of so many steps, the start included."""
    words = [f"step {step}" for step in range(steps)]
    if steps > 1:
        words[-1] = "final"
    return words


def shown_steps(steps: int, max_panels: int = 7) -> list[int]:
    """Those of so many steps that a strip of `max_panels` shows: the first ones and the last."""
    return [*range(min(max_panels - 1, steps) - 1), steps - 1]


def _crop_around(scene: Scene, height: int, width: int) -> Crop:
    size = np.array([width, height])
    box = bounds(scene.project()[..., :2])
    low, high = (np.zeros(2), size) if box is None else box
    margin = MARGIN * (high - low).max()
    low = np.clip(np.floor(low - margin), -np.ceil(OVERHANG * size), size - 1)
    high = np.clip(np.ceil(high + margin), low + 1, np.ceil((1 + OVERHANG) * size))
    wide, high_ = high - low
    extent = np.maximum(high - low, [NARROWEST * high_, wide / WIDEST])
    left, top = np.floor((low + high - extent) / 2).astype(int)
    return Crop(int(left), int(top), math.ceil(extent[0]), math.ceil(extent[1]))


def _cut(image: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
    """Return the window, grey where it reaches beyond the picture."""
    left, top = max(crop.left, 0), max(crop.top, 0)
    part = image[top : max(crop.top + crop.height, 0), left : max(crop.left + crop.width, 0)]
    sheet = blank(crop.height, crop.width, colour=BEYOND)
    below, right = top - crop.top, left - crop.left
    sheet[below : below + part.shape[0], right : right + part.shape[1]] = part
    return sheet


def _in_a_row(panels: list[NDArray[np.uint8]], gap: int) -> NDArray[np.uint8]:
    space = blank(panels[0].shape[0], gap)
    row = np.concatenate([part for panel in panels for part in (space, panel)] + [space], axis=1)
    return np.concatenate([blank(gap, row.shape[1]), row])
