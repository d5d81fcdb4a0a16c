"""A moving picture of test-time optimisation: everybody's body after each step, as it was found."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from dualhmr.files import atomic_path
from dualhmr.rendering.meshes import draw_scene, person_colours
from dualhmr.rendering.overlay import OPACITY, side_view
from dualhmr.rendering.page import PagePerson
from dualhmr.rendering.pictures import INK, blank, check_picture, draw_dots, resize, with_words
from dualhmr.rendering.scene import Scene

ANIMATION_SUFFIXES = (".gif", ".webp", ".apng")

# As in the page.
OBSERVED, OF_BODY = (232, 89, 12), (25, 113, 194)

# As shares of the longer side of the photograph.
_DOT_RADIUS, _LINE_WIDTH, _WORDS = 0.0085, 0.004, 0.075

# Milliseconds. Most happens in the first steps. Files count hundredths of a second.
_FIRST_MS, _EARLY_MS, _LATER_MS, _LAST_MS, _TURN_MS = 1000, 600, 350, 2500, 80
_EARLY_STEPS = 3


@dataclass(frozen=True, eq=False)
class Animation:
    """A moving picture, which begins again after its last frame."""

    frames: NDArray[np.uint8]
    """(N, H, W, 3) sRGB."""
    durations_ms: tuple[int, ...]
    """N, how long each is shown."""

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a GIF, WebP or APNG file, by its suffix, whole or not at all.

        A GIF has 255 colours, the same ones in all frames; a WebP is smaller and has all of them.

        Raises:
            ValueError: another suffix, no frame, or as many durations as there are not frames.
            FileNotFoundError: the folder does not exist.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in ANIMATION_SUFFIXES:
            expected = ", ".join(ANIMATION_SUFFIXES)
            raise ValueError(f"a moving picture's name ends in one of {expected}, got {path}")
        if len(self.frames) == 0 or len(self.frames) != len(self.durations_ms):
            raise ValueError(
                "a moving picture needs one duration for each of its frames, at least one; got "
                f"{len(self.frames)} frames and {len(self.durations_ms)} durations"
            )
        pictures = [Image.fromarray(frame) for frame in self.frames]
        options: dict[str, Any] = {"format": "PNG"}
        if suffix == ".gif":
            pictures, options = _with_palette(pictures), {"format": "GIF", "optimize": True}
        elif suffix == ".webp":
            options = {"format": "WEBP", "quality": 80, "method": 4}
        with atomic_path(path) as temporary:
            pictures[0].save(
                temporary,
                save_all=True,
                append_images=pictures[1:],
                duration=list(self.durations_ms),
                loop=0,
                **options,
            )


def step_animation(
    image: NDArray[np.uint8],
    persons: Sequence[PagePerson],
    faces: ArrayLike,
    *,
    focal_length: float,
    principal_point: ArrayLike,
    max_side: int = 440,
    turn: int = 24,
) -> Animation:
    """Show persons over their photograph and from the side, at each of their steps.

    There is a frame for each number in the persons' `steps`, with nothing between them. A person
    that has ended stays as it is. Observed keypoints are orange and the body's are blue, with a
    line between the two. Below stand the step and the mean distance between the two in pixels of
    the photograph, for several persons the mean of theirs.

    Args:
        image: (H, W, 3) uint8 sRGB, the whole photograph.
        persons: P with the same number of vertices; without any there is one frame.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        focal_length: pixels of the image.
        principal_point: (2,) pixels; (0, 0) is the centre of the first pixel.
        max_side: pixels; a larger photograph is made smaller until no side is longer. The side view
            is at most as wide as the photograph.
        turn: so many frames at the end turn the result once around, from the side view on.

    Returns:
        The steps' frames, then those of the turn.

    Raises:
        TypeError: the image is not of uint8.
        ValueError: a shape or a camera is wrong (see `Scene.checked`), `max_side` is below 16 or
            `turn` below 0.
    """
    check_picture(image)
    if max_side < 16 or turn < 0:
        raise ValueError(
            f"max_side must be at least 16 and turn at least 0, got {max_side} and {turn}"
        )
    scale = min(max_side / max(image.shape[:2]), 1.0)
    height, width = (max(round(scale * side), 1) for side in image.shape[:2])
    photograph = resize(image, height, width) if scale < 1 else image
    line_height = _WORDS * max_side
    if not persons:
        frame = np.concatenate([photograph, blank(height, max(min(height // 2, width), 1))], axis=1)
        return Animation(with_words(frame, "nobody recovered", line_height)[None], (_LAST_MS,))

    def scene_of(vertices: NDArray[np.floating]) -> Scene:
        scene = Scene.checked(
            vertices, faces, focal_length=focal_length, principal_point=principal_point
        )
        return scene.resampled(scale)

    everything = scene_of(np.concatenate([person.vertices for person in persons]))
    colours = person_colours(len(persons))
    numbers = sorted({step for person in persons for step in person.steps})
    errors_px = [person.errors_px() for person in persons]
    frames = []

    def beside(scene: Scene, degrees: float = 90.0) -> NDArray[np.uint8]:
        return side_view(
            scene,
            height=height,
            max_width=width,
            colours=colours,
            room_for=everything,
            degrees=degrees,
            turning=turn > 0,
        )

    for number in numbers:
        rows = [int(np.searchsorted(each.steps, number, side="right")) - 1 for each in persons]
        rows = [max(row, 0) for row in rows]
        scene = scene_of(np.stack([p.vertices[row] for p, row in zip(persons, rows, strict=True)]))
        drawn = photograph.copy()
        draw_scene(scene, drawn, colours=colours, opacity=OPACITY)
        for person, row in zip(persons, rows, strict=True):
            _draw_marks(drawn, person.observed, person.keypoints[row], scale)
        errors = [errors_px[person][row] for person, row in enumerate(rows)]
        words = _words(number, numbers[-1], errors)
        frame = np.concatenate([drawn, beside(scene)], axis=1)
        frames.append(with_words(frame, words, line_height))
    for k in range(1, turn + 1):
        frame = frames[len(numbers) - 1].copy()
        frame[:height, width:] = beside(scene, 90.0 + 360.0 * k / turn)
        frames.append(frame)
    return Animation(np.stack(frames), _durations_ms(len(numbers), turn))


def _durations_ms(steps: int, turn: int) -> tuple[int, ...]:
    early = min(_EARLY_STEPS, max(steps - 2, 0))
    later = max(steps - 2 - early, 0)
    shown = [_FIRST_MS] * (steps > 1) + [_EARLY_MS] * early + [_LATER_MS] * later
    turned = [_TURN_MS] * turn
    if turn:  # it ends where it began
        turned[-1] = _LAST_MS // 2
    return (*shown, _LAST_MS, *turned)


def _words(number: int, last: int, errors: Sequence[float | None]) -> str:
    known = [error for error in errors if error is not None]
    step = "step 0, the network's own body" if number == 0 else f"step {number} of {last}"
    return step + (f": {np.mean(known):.1f} px from the keypoints" if known else "")


def _draw_marks(
    picture: NDArray[np.uint8],
    observed: NDArray[np.floating],
    of_body: NDArray[np.floating],
    scale: float,
) -> None:
    """Lines between keypoints (K, 2) that both have, and dots; in place."""
    side = max(picture.shape[:2])
    pairs = (np.stack([of_body, observed], axis=1).astype(np.float64) + 0.5) * scale - 0.5
    pairs = pairs[(np.abs(pairs) < 10 * side).all(axis=(1, 2))]  # drops what is not finite, too
    lines = Image.fromarray(picture)
    drawing = ImageDraw.Draw(lines)
    for one, other in pairs:
        drawing.line([tuple(one), tuple(other)], INK, max(round(_LINE_WIDTH * side), 1))
    picture[:] = np.asarray(lines)
    radius = max(_DOT_RADIUS * side, 2.0)
    draw_dots(picture, pairs[:, 0], radius=radius, colour=OF_BODY)
    draw_dots(picture, pairs[:, 1], radius=radius, colour=OBSERVED)


def _with_palette(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """In 255 colours of the first, the middle and the last: the 256th is left for transparency.

    Those of the keypoints are among them, as few pixels have them. Not dithered: dots that move
    from frame to frame look like noise, and make the file large.
    """
    some = [np.asarray(pictures[k]) for k in {0, len(pictures) // 2, len(pictures) - 1}]
    found = Image.fromarray(np.concatenate(some)).quantize(253, Image.Quantize.MEDIANCUT)
    colours = [*(found.getpalette() or [])[: 3 * 253], *OBSERVED, *OF_BODY]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    return [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
