"""Things in front of people, drawn at random, for data sets that have none.

After Sarandi et al., "How robust is 3D human pose estimation to occlusion?" (2018). The paper's
release pastes objects cut out of Pascal VOC; here they are drawn, so nobody has to bring them.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_MOST = 4
_HALF_SIZE = (0.04, 0.16)
"""Of an occluder's half-axes, in crop heights."""
_CORNERS = (4, 6, 40)
_PATCHES = 6
"""A texture has this many patches of colour along each side."""


def occlude(crop: NDArray[np.uint8], dice: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of `crop` (H, W, 3) with one to four occluders anywhere on it."""
    height, width = crop.shape[:2]
    picture = Image.fromarray(crop)
    for _ in range(dice.integers(1, _MOST + 1)):
        center = dice.random(2) * (width, height)
        half_size = dice.uniform(*_HALF_SIZE, 2) * height
        outline = center + _outline(dice) * half_size @ _rotation(dice)
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon([(x, y) for x, y in outline.tolist()], fill=255)
        picture.paste(_texture(width, height, dice), mask=mask)
    return np.array(picture)


def _outline(dice: np.random.Generator) -> NDArray[np.float64]:
    """Corners (C, 2) on the unit circle: of a rhombus, a hexagon or nearly an ellipse."""
    angles = np.linspace(0, 2 * math.pi, dice.choice(_CORNERS), endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rotation(dice: np.random.Generator) -> NDArray[np.float64]:
    angle = dice.uniform(0, 2 * math.pi)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _texture(width: int, height: int, dice: np.random.Generator) -> Image.Image:
    """Patches of colours around a common one, from plain to mottled."""
    contrast = dice.uniform(0, 80)
    patches = dice.uniform(0, 255, 3) + contrast * dice.standard_normal((_PATCHES, _PATCHES, 3))
    small = Image.fromarray(patches.clip(0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)
