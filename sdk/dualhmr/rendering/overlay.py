"""Persons over their photograph, and beside it the same persons from the side."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.rendering.distance_colours import distance_colours, distance_scale
from dualhmr.rendering.meshes import draw_scene, person_colours
from dualhmr.rendering.pictures import blank, check_picture, draw_dots, resize
from dualhmr.rendering.scene import Scene, bounds

# Of the meshes: the photograph shows through enough to judge the fit.
OPACITY = 0.9

# As a share of the longer side of the picture.
DOT_RADIUS = 0.0055

# How much darker than the person's mesh its dots are.
DOT_DARKNESS = 0.45

# Distance of the side view's camera in sizes of the scene, so large that there is no perspective.
REMOTENESS = 100.0

# Free space on each side, as a share of the panel.
MARGIN = 0.06

# Least share of the panel's height that the persons fill, however small in the photograph.
SMALLEST = 0.55

GROUND = (226, 226, 221)


def overlay(
    image: NDArray[np.uint8],
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    focal_length: ArrayLike,
    principal_point: ArrayLike,
    keypoints: ArrayLike | None = None,
    colours: ArrayLike | None = None,
    distances: ArrayLike | None = None,
    opacity: float = OPACITY,
    max_side: int = 2048,
) -> NDArray[np.uint8]:
    """Draw persons over their photograph, and beside it the same persons from the side.

    Args:
        image: (H, W, 3) uint8 sRGB, left as it is.
        vertices: (P, V, 3) metres, camera frame (x right, y down, z forward).
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        focal_length: (P,) pixels of the image, or one number.
        principal_point: (P, 2) pixels, or one point; (0, 0) is the centre of the first pixel.
        keypoints: (P, K, 2) pixels of the image, drawn as dots; or (P, K, 3) with a confidence,
            where those with a confidence of 0 or less are left out.
        colours: (P, 3) sRGB in [0, 1]; `person_colours` by default.
        distances: (P, V) metres, shown as colours of the vertices, with a scale to the right.
        opacity: of the meshes over the photograph, 0 to 1.
        max_side: pixels; a larger photograph is made smaller until no side is longer.

    Returns:
        (H', W' + side, 3), the photograph's size, made smaller if it must be, and to its right
        the side view, of the same height and at most as wide, and the scale of `distances`.

    Raises:
        TypeError: the image is not of uint8.
        ValueError: a shape or a camera is wrong (see `Scene.checked`), or `max_side` below 1.
    """
    scene = Scene.checked(
        vertices, faces, focal_length=focal_length, principal_point=principal_point
    )
    check_picture(image)
    if max_side < 1:
        raise ValueError(f"max_side must be at least 1 pixel, got {max_side}")
    persons = len(scene.vertices)
    surfaces = person_colours(persons) if colours is None else np.asarray(colours, np.float32)
    shown = surfaces if distances is None else distance_colours(distances)
    scale = min(max_side / max(image.shape[:2]), 1.0)
    height, width = (max(round(scale * side), 1) for side in image.shape[:2])
    photograph = resize(image, height, width) if scale < 1 else image.copy()
    draw_scene(scene.resampled(scale), photograph, colours=shown, opacity=opacity)
    if keypoints is not None:
        points = _shown(keypoints, persons)
        radius = max(DOT_RADIUS * max(height, width), 1.5)
        for person_points, surface in zip(points, surfaces, strict=True):
            dark = (surface * (255 * (1 - DOT_DARKNESS))).astype(int)
            moved = (person_points + 0.5) * scale - 0.5
            draw_dots(photograph, moved, radius=radius, colour=tuple(dark.tolist()))
    side = side_view(scene.resampled(scale), height=height, max_width=width, colours=shown)
    parts = [photograph, side] + ([] if distances is None else [distance_scale(height)])
    return np.concatenate(parts, axis=1)


def _shown(keypoints: ArrayLike, persons: int) -> NDArray[np.float64]:
    """Return keypoints (P, K, 2), NaN for those that are not drawn."""
    points = np.array(keypoints, np.float64)
    if points.ndim != 3 or len(points) != persons or points.shape[2] not in (2, 3):
        raise ValueError(f"keypoints must be ({persons}, K, 2 or 3), got {points.shape}")
    if points.shape[2] == 3:
        points[~(points[..., 2] > 0)] = np.nan
    return points[..., :2]


def side_view(
    scene: Scene,
    *,
    height: int,
    max_width: int,
    colours: ArrayLike | None = None,
    room_for: Scene | None = None,
    degrees: float = 90.0,
    turning: bool = False,
) -> NDArray[np.uint8]:
    """Return a picture (height, at most max_width, 3) of the scene turned by 90 degrees, or others.

    All persons turn together about the vertical axis through their common centre, so their relative
    positions stay: at 90 degrees the photograph's camera is to the left, and far persons are to the
    right. The view is orthographic. Persons have the size and the height of the photograph, unless
    they would not fit or nearly vanish; a line marks the lowest point. Pictures of the same
    `room_for`, in place of the scene itself, and `turning` have one size, centre and scale; with
    `turning` there is room for every angle.
    """
    whole = scene if room_for is None else room_for
    box = bounds(whole.vertices)
    if box is None:
        return blank(height, max(min(height // 2, max_width), 1))
    middle = (box[0] + box[1]) / 2
    size_x, size_y, size_z = np.maximum(box[1] - box[0], 1e-6)
    if turning:
        away = np.hypot(*np.moveaxis((whole.vertices - middle)[..., [0, 2]], -1, 0))
        size_z = max(2 * float(np.nanmax(away)), 1e-6)
    room = 1 - 2 * MARGIN
    scale = max(_pixels_per_metre(whole), SMALLEST * height / size_y)
    scale = min(scale, room * height / size_y, room * max_width / size_z)
    wanted = max(scale * size_z + 2 * MARGIN * height, height / 2)
    width = max(round(min(wanted, max_width)), 1)
    slack = (room * height - scale * size_y) / 2
    row = np.clip(_middle_row(whole, height), height / 2 - slack, height / 2 + slack) - 0.5

    x, y, z = np.moveaxis(scene.vertices - middle, -1, 0)
    # Exact at 90 degrees.
    cosine, sine = np.round([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 15)
    distance = REMOTENESS * (size_x + size_y + size_z)
    persons = len(scene.vertices)
    across, away_m = cosine * x + sine * z, cosine * z - sine * x
    turned = replace(
        scene,
        vertices=np.stack([across, y, distance + away_m], axis=-1),
        focal_length=np.full(persons, scale * distance),
        principal_point=np.tile([(width - 1) / 2, row], (persons, 1)),
    )
    picture = blank(height, width)
    ground = round(row + scale * size_y / 2)
    picture[ground : ground + max(round(height / 250), 1)] = GROUND
    draw_scene(turned, picture, colours=colours)
    return picture


def _pixels_per_metre(scene: Scene) -> float:
    """Return the median scale in the photograph; infinity if no person is before the camera."""
    metres_per_pixel = scene.project()[..., 2]
    visible = metres_per_pixel[np.isfinite(metres_per_pixel)]
    return float(1 / np.median(visible)) if len(visible) else np.inf


def _middle_row(scene: Scene, height: int) -> float:
    """Return the row of the photograph, in pixels, where the middle of all persons is."""
    box = bounds(scene.project())
    return height / 2 if box is None else (box[0][1] + box[1][1] + 1) / 2
