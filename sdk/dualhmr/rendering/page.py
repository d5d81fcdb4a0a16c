"""One HTML file that shows bodies in 3D, before and after every step, without a network.

It holds three.js, the photograph or frames of the video as JPEG, and the vertices of every step,
quantised to 16 bits.
Nothing of the user's becomes markup or script: text is escaped, and a content security policy lets
the browser run only the two scripts whose hashes it names, and load nothing from anywhere.
"""

import base64
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualhmr.rendering.distance_colours import FULL_M, distance_colours
from dualhmr.rendering.meshes import person_colours, track_colours

Floats = npt.NDArray[np.floating[Any]]

_ASSETS = Path(__file__).parents[1] / "assets"
_LONGEST_SIDE = 1600
_JPEG_QUALITY = 85
_SCALE_STOPS = 9
_BEHIND_M = 0.3
"""Of the photograph, behind the last vertex."""


@dataclass(frozen=True, eq=False)
class PagePerson:
    """One person at S steps, in the camera frame: x right, y down, z forward, metres."""

    number: int
    steps: Sequence[int]
    """The numbers of the S steps (or frames, see `page`), rising."""
    vertices: Floats
    """(S, V, 3)."""
    joints: Floats
    """(S, 24, 3)."""
    keypoints: Floats
    """(S, K, 2) the body's in image pixels, NaN where the body has none."""
    observed: Floats
    """(K, 2) the user's in image pixels, NaN where there is none."""
    losses: Sequence[float]
    """S."""
    uncertainty: Floats | None = None
    """(V,) metres, of the vertices of the last step."""
    seen: Sequence[bool] | None = None
    """S: False in frames of a video where the person was not seen, and the motion was filled in."""

    def errors_px(self) -> list[float | None]:
        """S: the mean distance of the keypoints to those that were observed; None without any."""
        distance = np.linalg.norm(self.keypoints - self.observed, axis=-1)
        return [_mean(each) for each in distance]


@dataclass(frozen=True, eq=False)
class PageVideo:
    """What `steps` of the persons are frames of."""

    frames_per_second: float
    size: tuple[int, int] = (0, 0)
    """Width and height of the frames in pixels, of which the camera's are too."""
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    """Frames as JPEG, of any size, by their numbers, which rise."""


def page(
    persons: Sequence[PagePerson],
    faces: npt.NDArray[np.integer[Any]],
    parents: Sequence[int],
    *,
    focal_length: float,
    principal_point: tuple[float, float],
    image: npt.NDArray[np.uint8] | None = None,
    title: str = "dualhmr",
    video: PageVideo | None = None,
) -> str:
    """The text of the page.

    `faces` (F, 3); `parents` of the 24 joints, -1 of the root. `image` (H, W, 3) is seen by the
    camera of `focal_length` and `principal_point` (pixels), and shown behind everybody; it is made
    smaller where it has more than 1600 pixels a side. With `video`, `steps` are its frames: a
    person is there from the first to the last of them, and its pictures take the place of `image`.
    """
    deepest = max((float(person.vertices[..., 2].max()) for person in persons), default=1.0)
    pictures = {} if image is None else {0: jpeg(image, _LONGEST_SIDE, _JPEG_QUALITY)}
    height, width = (0, 0) if image is None else image.shape[:2]
    colours = person_colours(len(persons))
    if video is not None:
        (width, height), pictures = video.size, dict(video.pictures)
        colours = track_colours([person.number for person in persons])
    data = {
        "pictures": [
            [number, "data:image/jpeg;base64," + _base64(each)] for number, each in pictures.items()
        ],
        "size": [width, height],
        "focal": float(focal_length),
        "center": [float(each) for each in principal_point],
        "fps": None if video is None else video.frames_per_second,
        "scale": {
            "full_cm": round(100 * FULL_M),
            "colours": [
                _hex(colour) for colour in distance_colours(np.linspace(0, FULL_M, _SCALE_STOPS))
            ],
        },
        "behind_m": max(deepest, 0.0) + _BEHIND_M,
        "faces": _base64(faces.astype("<u4").tobytes()),
        "vertex_count": persons[0].vertices.shape[1] if persons else 0,
        "bones": [[parent, joint] for joint, parent in enumerate(parents) if parent >= 0],
        "persons": [
            _person(person, _hex(colour)) for person, colour in zip(persons, colours, strict=True)
        ],
    }
    return _filled(title, data)


def camera_shift(
    depth: Floats, focal_length: Any, principal_point: Any, page_camera: tuple[Any, Any]
) -> Floats:
    """(S, 3) what moves bodies at `depth` (S,) to where the page's one camera sees them the same.

    `focal_length` and `principal_point` are of their own camera, or of S of them; `page_camera` is
    the page's, likewise; pixels.
    """
    page_focal, page_center = page_camera
    moved = (depth * (page_focal / focal_length))[:, None]
    sideways = (np.asarray(principal_point) - page_center) / page_focal * moved
    return np.concatenate([sideways, moved - depth[:, None]], axis=1)


def _person(person: PagePerson, colour: str) -> dict[str, Any]:
    low = person.vertices.min(axis=(0, 1))
    scale = max(float((person.vertices.max(axis=(0, 1)) - low).max()), 1e-6) / 65535
    quantised = ((person.vertices - low) / scale).round().astype("<u2")
    counted = np.isfinite(person.observed).all(-1)
    return {
        "number": int(person.number),
        "colour": colour,
        "steps": [int(step) for step in person.steps],
        "low": low.tolist(),
        "scale": scale,
        "vertices": _base64(quantised.tobytes()),
        "joints": person.joints.astype(float).round(4).tolist(),
        "observed": _points(person.observed[counted]),
        "keypoints": [_points(each[counted]) for each in person.keypoints],
        "loss": [float(loss) if np.isfinite(loss) else None for loss in person.losses],
        "error_px": person.errors_px(),
        "tints": None if person.uncertainty is None else _tints(person.uncertainty),
        "seen": None if person.seen is None else [int(each) for each in person.seen],
    }


def _tints(metres: Floats) -> str:
    """Of the vertices, as the bytes of sRGB."""
    return _base64((255 * distance_colours(metres) + 0.5).astype(np.uint8).tobytes())


def _points(points: Floats) -> list[list[float] | None]:
    rows = points.astype(float).round(2).tolist()
    return [row if np.isfinite(row).all() else None for row in rows]


def _hex(colour: Floats) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(colour * 255).round().astype(int).tolist())


def _mean(distances: Floats) -> float | None:
    finite = distances[np.isfinite(distances)]
    return float(finite.mean()) if len(finite) else None


def jpeg(image: npt.NDArray[np.uint8], longest_side: int, quality: int) -> bytes:
    """The file of an image (H, W, 3), made smaller where a side has more pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, format="JPEG", quality=quality)
    return written.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def allowed(styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """Of a content security policy, what allows the page's style and scripts, and those texts."""
    style = " ".join(map(_hashed, (*styles, _asset("viewer/style.css"))))
    own = _asset("three/three.min.js"), _viewer()
    script = " ".join(map(_hashed, (*scripts, *own)))
    return f"style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"


def _filled(title: str, data: dict[str, Any]) -> str:
    # In JSON a "<" stands in strings only, so that no "</script>" ends the element early.
    values = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "policy": f"default-src 'none'; img-src data:; {allowed()}",
        "title": html.escape(title),
        "style": _asset("viewer/style.css"),
        "data": values,
        "three": _asset("three/three.min.js"),
        "viewer": _viewer(),
    }
    return filled(_asset("viewer/page.html"), parts)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """`template` with the texts of `parts` for `{{name}}`; they are markup already."""
    # Cut at the names, never replaced one after the other: a title may itself read "{{data}}".
    head, *rest = template.split("{{")
    pieces = [head]
    for each in rest:
        name, _, text = each.partition("}}")
        pieces += [parts[name], text]
    return "".join(pieces)


def _viewer() -> str:
    """The page's own script; its parts are in this order."""
    return "".join(_asset(f"viewer/{part}.js") for part in ("scene", "view", "panel"))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"
