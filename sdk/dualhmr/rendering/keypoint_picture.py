"""People's keypoints over their photograph, with lines for limbs."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from dualhmr.keypoints.sets import mirrored_name
from dualhmr.rendering.meshes import person_colours
from dualhmr.rendering.pictures import check_picture, draw_dots, resize

# As shares of the longer side of the picture.
_DOT_RADIUS = 0.0055
_LINE_WIDTH = 0.004

# Of the left side; the right one is alike.
_LINES = (
    ("nose", "left_eye"),
    ("left_eye", "left_ear"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("left_shoulder", "left_hip"),
    ("left_hip", "right_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("left_ankle", "left_heel"),
    ("left_ankle", "left_big_toe"),
    ("left_ankle", "left_small_toe"),
)


def keypoint_picture(
    image: NDArray[np.uint8],
    keypoints: ArrayLike,
    confidence: ArrayLike,
    *,
    names: tuple[str, ...],
    max_side: int = 2048,
) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) uint8 with the keypoints of P persons, in colours of the persons.

    `keypoints` (P, K, 2) in pixels, (0, 0) the first one's centre; `confidence` (P, K), where those
    with 0 are left out; `names` (K,) say which are linked by limbs. A photograph with a side longer
    than `max_side` pixels is made smaller.

    Raises TypeError or ValueError for what is no picture.
    """
    check_picture(image)
    points = np.asarray(keypoints, np.float64)
    shown = np.asarray(confidence) > 0
    scale = min(max_side / max(image.shape[:2]), 1.0)
    height, width = (max(round(scale * side), 1) for side in image.shape[:2])
    picture = Image.fromarray(resize(image, height, width) if scale < 1 else image)
    drawing = ImageDraw.Draw(picture)
    line_width = max(round(_LINE_WIDTH * max(height, width)), 1)
    moved = (points + 0.5) * scale - 0.5
    colours = [tuple((255 * colour).astype(int).tolist()) for colour in person_colours(len(points))]
    for person, colour in enumerate(colours):
        for one, other in _rows_of_lines(names):
            if shown[person, one] and shown[person, other]:
                ends = [tuple(moved[person, one]), tuple(moved[person, other])]
                drawing.line(ends, fill=colour, width=line_width)
    drawn = np.array(picture)
    radius = max(_DOT_RADIUS * max(height, width), 1.5)
    for person, colour in enumerate(colours):
        draw_dots(drawn, moved[person][shown[person]], radius=radius, colour=colour)
    return drawn


def _rows_of_lines(names: tuple[str, ...]) -> list[tuple[int, int]]:
    row = {name: number for number, name in enumerate(names)}
    mirrored = [(mirrored_name(one), mirrored_name(other)) for one, other in _LINES]
    both = dict.fromkeys((*_LINES, *mirrored))
    return [(row[one], row[other]) for one, other in both if one in row and other in row]
