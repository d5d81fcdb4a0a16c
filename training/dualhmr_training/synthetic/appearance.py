"""What pictures of synthetic people are like, as plain values."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Degradation:
    """How bad pictures are: the largest levels that are drawn, and shares of all pictures."""

    few_pixels: float = 0.3
    """Share of pictures enlarged from fewer pixels."""
    enlarged: float = 5.0
    """How many crop pixels one pixel of those becomes; mostly few."""
    noisy: float = 0.6
    """Share of pictures with noise."""
    noise: float = 14.0
    """Standard deviation in grey levels of 255; mostly little."""
    colour: float = 0.25
    """Change of exposure, contrast and white balance, as a fraction."""
    grey: float = 0.04
    """Share of pictures without colour."""
    jpeg: float = 0.25
    """Share of pictures compressed once more."""
    jpeg_quality: tuple[int, int] = (20, 80)


@dataclass(frozen=True)
class Appearance:
    """Background, clothes and camera of synthetic people."""

    clutter: int = 10
    """The most shapes in a background."""
    bystander: float = 0.25
    """Share of pictures with another of the people behind, one whose own crop shows all of them."""
    occluded: float = 0.35
    """Share of people with something in front of them."""
    max_hidden: float = 0.6
    """An occluder hides between none and this share of a person's pixels, uniformly."""
    degradation: Degradation = field(default_factory=Degradation)
