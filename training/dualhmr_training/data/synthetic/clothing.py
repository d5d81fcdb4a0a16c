"""Clothes, hair and faces of synthetic people: a colour for each visible point of the body.

All borders are drawn on the body at rest, where a sleeve ends at a distance from the middle plane
and trousers at a height; so they follow the pose.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.keypoints import BODY_23
from dualhmr_training.data.synthetic.surfaces import Layer, Surface
from dualhmr_training.data.synthetic.textures import ROUGH, noise_at, pattern, random_colour

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Landmarks:
    """Points of the body at rest, arms out. Metres; x to its left, y up, z to its front."""

    joints: dict[str, Array]
    """(3,) each, by SMPL's joint names."""
    keypoints: dict[str, Array]
    """(3,) each, by `BODY_23`'s names."""

    @classmethod
    def of(cls, body: Body) -> "Landmarks":
        """Those of the mean shape."""
        points = keypoint_regressor(body, BODY_23).from_mesh(body.v_template, body.joint_template)
        return cls(
            dict(zip(JOINT_NAMES, body.joint_template.numpy(), strict=True)),
            dict(zip(BODY_23.names, points.numpy(), strict=True)),
        )


_HAIR = np.array(
    [[0.06, 0.05, 0.05], [0.24, 0.15, 0.09], [0.70, 0.52, 0.30], [0.65, 0.63, 0.60]], np.float32
)
_LIPS = np.array([0.85, 0.5, 0.5], np.float32)


def _head(
    rng: np.random.Generator, surface: Surface, landmarks: Landmarks, skin: Array
) -> list[Layer]:
    """Beard, mouth, eyes, brows, hair or hat; later layers cover earlier ones."""
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


_PALE, _DARK = np.array([0.98, 0.80, 0.69]), np.array([0.28, 0.17, 0.11])
_DENIM = np.array([0.24, 0.32, 0.48])
_FOLDED = 0.7  # share of outfits with folds
_NOISE_CELLS_PER_M = np.float32(250)


def dress(rng: np.random.Generator, surface: Surface, landmarks: Landmarks) -> Array:
    """Colours (3, P) of the surface without light, sRGB in about [0, 1]: one random outfit."""
    skin = _skin_colour(rng)
    layers = [
        *_clothes(rng, surface, landmarks.joints),
        *_head(rng, surface, landmarks, skin),
    ]
    layer = np.zeros(len(surface.pixels), np.uint8)
    for number, (where, _) in enumerate(layers, start=1):
        layer[where] = number
    colours = np.stack([skin, *(colour for _, colour in layers)], axis=1)
    drawn = _patterned(rng, colours, layer, surface, landmarks.joints["left_shoulder"][0])
    if rng.random() < _FOLDED:
        x, y, z = surface.template * _NOISE_CELLS_PER_M
        folds = noise_at(rng, ROUGH, x + z, y - z)
        drawn *= 1 + folds * np.float32(rng.uniform(0, 0.15))
    return drawn


def _clothes(rng: np.random.Generator, surface: Surface, joints: dict[str, Array]) -> list[Layer]:
    """Shirt and trousers, then belt and shoes over them."""
    x, y, _ = surface.template
    shirt, trousers = random_colour(rng), _trouser_colour(rng)
    if rng.random() < 0.12:
        shirt = trousers
    waist = joints["pelvis"][1] + np.float32(rng.uniform(-0.06, 0.12))
    sleeved = (np.abs(x) < _sleeve(rng, joints)) & (surface.head < rng.uniform(0.25, 0.7))
    layers = [
        ((y > waist) & sleeved, shirt),
        ((y <= waist) & (y > _hem(rng, joints)), trousers),
    ]
    if rng.random() < 0.15:
        layers.append((np.abs(y - waist) < 0.02, random_colour(rng)))
    if rng.random() < 0.85:
        shoe = joints["left_ankle"][1] + rng.uniform(-0.03, 0.08)
        layers.append((y < shoe, random_colour(rng)))
    return layers


def _patterned(
    rng: np.random.Generator, colours: Array, layer: NDArray[np.uint8], surface: Surface, arm: float
) -> Array:
    """Colours (3, P) of points in layers (P,) of `colours` (3, L), with patterns on some clothes.

    Layer 1 is the shirt, 2 the trousers; `arm` is the x at which arms begin.
    """
    x, y, z = surface.template
    marks, share = np.zeros_like(colours), np.zeros_like(x)
    for number, likely in ((1, 0.45), (2, 0.12)):
        if rng.random() < likely:
            part = np.flatnonzero(layer == number)
            u, v, w = x[part], y[part], z[part]
            # On the arms, which lie along x, a shirt's stripes go around x.
            on_arm = np.abs(u) > arm
            across, along = np.where(on_arm, v, u) + w, np.where(on_arm, np.abs(u), v)
            drawn = pattern(rng, across, along, rng.uniform(0.02, 0.18))
            share[part] = drawn * np.float32(rng.uniform(0.2, 1.0))
            marks[:, number] = random_colour(rng) - colours[:, number]
    plain = colours.take(layer, axis=1)
    if share.any():
        plain += marks.take(layer, axis=1) * share
    return plain


def _skin_colour(rng: np.random.Generator) -> Array:
    tone = _PALE + (_DARK - _PALE) * rng.beta(1.0, 1.6)
    return (tone * rng.normal(1, 0.04, 3)).astype(np.float32)


def _trouser_colour(rng: np.random.Generator) -> Array:
    if rng.random() < 0.25:
        return (_DENIM * rng.uniform(0.5, 1.7)).astype(np.float32)
    return random_colour(rng, greys=0.6)


def _sleeve(rng: np.random.Generator, joints: dict[str, Array]) -> float:
    """The distance from the middle plane at which sleeves end."""
    shoulder, elbow, wrist = (joints[f"left_{name}"][0] for name in ("shoulder", "elbow", "wrist"))
    ends = {
        "none": (shoulder - 0.03, shoulder + 0.02),
        "short": (shoulder + 0.06, elbow),
        "long": (elbow + 0.1, wrist + 0.02),
    }
    return float(rng.uniform(*ends[rng.choice([*ends], p=(0.15, 0.4, 0.45))]))


def _hem(rng: np.random.Generator, joints: dict[str, Array]) -> float:
    """The height at which the trouser legs end."""
    hip, knee, ankle = (joints[f"left_{name}"][1] for name in ("hip", "knee", "ankle"))
    if rng.random() < 0.3:
        return float(rng.uniform(knee - 0.08, hip - 0.12))
    return float(rng.uniform(ankle - 0.02, ankle + 0.1))
