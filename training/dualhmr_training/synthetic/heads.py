"""Random hair and hats, and faces of a few strokes, as functions of the point on the head."""

import numpy as np
from numpy.typing import NDArray

from dualhmr_training.synthetic.landmarks import Landmarks
from dualhmr_training.synthetic.surfaces import Layer, Surface
from dualhmr_training.synthetic.textures import random_colour

Array = NDArray[np.float32]

_HAIR = np.array(
    [[0.06, 0.05, 0.05], [0.24, 0.15, 0.09], [0.70, 0.52, 0.30], [0.65, 0.63, 0.60]], np.float32
)
_LIPS = np.array([0.85, 0.5, 0.5], np.float32)


def head_layers(
    rng: np.random.Generator, surface: Surface, landmarks: Landmarks, skin: Array
) -> list[Layer]:
    """Beard, mouth, eyes, brows, hair or hat."""
    at_head = np.flatnonzero(surface.head > 0.5)
    x, y, z = surface.template[:, at_head]
    eye, nose, ear = (landmarks.keypoints[name] for name in ("left_eye", "nose", "left_ear"))
    hair = _HAIR[rng.integers(len(_HAIR))] * np.float32(rng.uniform(0.6, 1.3))
    front = z > ear[2] + 0.02
    from_eye = np.abs(x) - eye[0]
    # The hairline rises from the nape over the ears to the forehead.
    hairline = eye[1] + rng.normal(0, 0.012) + rng.uniform(0.4, 0.8) * (z - ear[2])
    features = [
        (front & (np.abs(x) < 0.022) & (np.abs(y - nose[1] + 0.038) < 0.006), skin * _LIPS),
        (front & (from_eye**2 + (1.8 * (y - eye[1])) ** 2 < 0.013**2), 0.5 * hair),
        (front & (np.abs(from_eye) < 0.02) & (np.abs(y - eye[1] - 0.022) < 0.004), hair),
    ]
    if rng.random() < 0.2:
        features.insert(0, (front & (y < nose[1] - 0.015), 0.4 * skin + 0.6 * hair))
    covering = rng.random()
    if covering < 0.8:
        features.append((y > hairline, hair))
    elif covering < 0.92:  # a hat, low all around
        features.append((y > eye[1] + 0.03, random_colour(rng)))
    return [(at_head[where], colour) for where, colour in features]
