"""The same persons from the side, which tells what a photograph cannot."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.rendering.meshes import draw_scene
from dualhmr.rendering.pictures import blank
from dualhmr.rendering.scene import Scene, bounds

# The camera stands so many times the scene's size away that it sees no perspective.
REMOTENESS = 100.0

# Left free on each side, as a share of the panel.
MARGIN = 0.06

# Of the panel's height, filled by the persons at least, however small they are in the photograph.
SMALLEST = 0.55

GROUND = (226, 226, 221)


def side_view(
    scene: Scene, *, height: int, max_width: int, colours: ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Return a picture (height, at most max_width, 3) of the scene turned by 90 degrees.

    All persons turn together about the vertical axis through their common centre, so they keep
    their places: the photograph's camera is to the left, and what is far is to the right. The
    view is orthographic. Persons are as large as in the photograph and at the same height, as
    far as the panel is neither overfull nor nearly empty then; a line marks the lowest point.
    """
    box = bounds(scene.vertices)
    if box is None:
        return blank(height, max(min(height // 2, max_width), 1))
    middle = (box[0] + box[1]) / 2
    size_x, size_y, size_z = np.maximum(box[1] - box[0], 1e-6)
    room = 1 - 2 * MARGIN
    scale = max(_pixels_per_metre(scene), SMALLEST * height / size_y)
    scale = min(scale, room * height / size_y, room * max_width / size_z)
    wanted = max(scale * size_z + 2 * MARGIN * height, height / 2)
    width = max(round(min(wanted, max_width)), 1)
    slack = (room * height - scale * size_y) / 2
    row = np.clip(_middle_row(scene, height), height / 2 - slack, height / 2 + slack) - 0.5

    x, y, z = np.moveaxis(scene.vertices - middle, -1, 0)
    distance = REMOTENESS * (size_x + size_y + size_z)
    persons = len(scene.vertices)
    turned = replace(
        scene,
        vertices=np.stack([z, y, distance - x], axis=-1),
        focal_length=np.full(persons, scale * distance),
        principal_point=np.tile([(width - 1) / 2, row], (persons, 1)),
    )
    picture = blank(height, width)
    ground = round(row + scale * size_y / 2)
    picture[ground : ground + max(round(height / 250), 1)] = GROUND
    draw_scene(turned, picture, colours=colours)
    return picture


def _pixels_per_metre(scene: Scene) -> float:
    """Return the typical scale in the photograph; infinity if nobody is in front of the camera."""
    metres_per_pixel = scene.project()[..., 2]
    seen = metres_per_pixel[np.isfinite(metres_per_pixel)]
    return float(1 / np.median(seen)) if len(seen) else np.inf


def _middle_row(scene: Scene, height: int) -> float:
    """Return how far down in the photograph the middle of all persons is, in pixels."""
    box = bounds(scene.project())
    return height / 2 if box is None else (box[0][1] + box[1][1] + 1) / 2
