"""How a training crop is changed at random, as plain values, and one such change drawn."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Change:
    """Mirror the photograph, turn it, take another box, tint it. The default changes nothing."""

    mirror: bool = False
    """Left and right, before turning."""
    angle: float = 0.0
    """Radians from x to y, which is clockwise as the image is seen."""
    scale: float = 1.0
    """Of the box."""
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of red, green and blue."""

    @property
    def in_plane(self) -> NDArray[np.float64]:
        """The (2, 2) matrix that turns and mirrors offsets in the image."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        side = -1.0 if self.mirror else 1.0
        return np.array([[cosine * side, -sine], [sine * side, cosine]])


UNCHANGED = Change()


@dataclass(frozen=True)
class Augmentation:
    """The defaults are those of SPIN and of the paper's release."""

    mirror: float = 0.5
    """Probability."""
    colour: float = 0.4
    """Each channel is multiplied by up to one more or less than this, uniformly."""
    angle_sigma_degrees: float = 30.0
    angle_limit_degrees: float = 60.0
    upright: float = 0.6
    """Probability of not turning at all."""
    scale_sigma: float = 0.25
    scale_limit: float = 0.25
    """Of one more or less."""
    occlusion: float = 0.5
    """Probability of pasted occluders, on data sets that are recorded indoors."""

    def draw(self, dice: np.random.Generator) -> Change:
        """One change at random; always takes the same number of draws from `dice`."""
        mirror, upright = dice.random(2) < (self.mirror, self.upright)
        red, green, blue = 1 + self.colour * dice.uniform(-1, 1, 3)
        angle_normal, scale_normal = dice.standard_normal(2)
        limit = self.angle_limit_degrees
        angle = np.clip(angle_normal * self.angle_sigma_degrees, -limit, limit)
        scale = np.clip(scale_normal * self.scale_sigma, -self.scale_limit, self.scale_limit)
        return Change(
            mirror=bool(mirror),
            angle=0.0 if upright else math.radians(angle),
            scale=1 + float(scale),
            colour=(float(red), float(green), float(blue)),
        )
