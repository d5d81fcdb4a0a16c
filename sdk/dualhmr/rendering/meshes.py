"""Draws persons' meshes over a picture: colours, shading, and smooth outlines."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.rendering.pictures import check_picture
from dualhmr.rendering.scene import Scene, bounds
from dualhmr.rendering.zbuffer import NOTHING, FrameBuffer, draw_mesh

# sRGB; they differ in lightness as well as in hue.
PALETTE = (
    (0.58, 0.75, 0.98),  # sky
    (1.00, 0.80, 0.42),  # amber
    (0.66, 0.88, 0.68),  # sage
    (0.98, 0.60, 0.56),  # coral
    (0.82, 0.70, 0.98),  # lilac
    (0.38, 0.82, 0.80),  # lagoon
    (1.00, 0.67, 0.84),  # rose
    (0.82, 0.82, 0.80),  # stone
)

# Directions from the body towards the light, in the camera frame (x right, y down, z forward),
# and strengths in linear light.
AMBIENT = 0.09
LIGHTS = (
    ((-0.60, -0.85, -0.50), 0.80),  # key: above the camera, to its left
    ((0.00, 0.00, -1.00), 0.26),  # head light: what the camera sees is never black
    ((0.95, 0.15, -0.25), 0.14),  # fill: the side that the key leaves dark
)

# How much a surface darkens where it turns away from the camera, which draws each limb's contour.
CONTOUR = 0.45

# Approximates the transfer curve of sRGB.
GAMMA = 2.2

# Samples per pixel along each axis, averaged into smooth outlines.
SAMPLES = 3

# Of a video's tracks, after which colours repeat.
_TRACK_COLOURS = 12

# Rows drawn at a time, which bounds the memory for the samples of a large photograph.
BAND_ROWS = 128


def render_meshes(
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    focal_length: ArrayLike,
    principal_point: ArrayLike,
    background: NDArray[np.uint8],
    colours: ArrayLike | None = None,
    opacity: float = 1.0,
) -> NDArray[np.uint8]:
    """Draw shaded persons over a picture, nearer ones in front of farther ones.

    The z-buffer compares depth divided by focal length, in metres per pixel: the inverse of the
    scale at which a person appears. With one camera for all persons, the order is that of depth.
    With a camera for each person's crop, depths are not comparable, as a longer focal length gives
    a larger depth for the same picture; scales are.

    Args:
        vertices: (P, V, 3) metres, camera frame (x right, y down, z forward). Triangles with a
            vertex that is not finite or is behind the camera are left out.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        focal_length: (P,) pixels, or one number.
        principal_point: (P, 2) pixels, or one point; (0, 0) is the centre of the first pixel.
        background: (H, W, 3), left as it is.
        colours: (P, 3) sRGB in [0, 1], or (P, V, 3) of vertices; `person_colours` by default.
        opacity: of the meshes, 0 to 1. Persons never show through each other.

    Returns:
        The picture, (H, W, 3).

    Raises:
        TypeError: `background` is not of uint8.
        ValueError: a shape or a camera is wrong (see `Scene.checked`), or the opacity.
    """
    scene = Scene.checked(
        vertices, faces, focal_length=focal_length, principal_point=principal_point
    )
    check_picture(background)
    picture = background.copy()
    draw_scene(scene, picture, colours=colours, opacity=opacity)
    return picture


def draw_scene(
    scene: Scene,
    picture: NDArray[np.uint8],
    *,
    colours: ArrayLike | None = None,
    opacity: float = 1.0,
) -> None:
    """Draw the scene into a picture (H, W, 3), in place; see `render_meshes`."""
    persons = len(scene.vertices)
    surfaces = person_colours(persons) if colours is None else np.asarray(colours, np.float32)
    if surfaces.shape not in ((persons, 3), scene.vertices.shape):
        raise ValueError(
            f"colours must be {(persons, 3)} or {scene.vertices.shape}, got {surfaces.shape}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1, got {opacity}")
    shaded = [
        shade(vertex_normals(points, scene.faces), surface, towards_camera=-rays) * 255
        for points, rays, surface in zip(scene.vertices, scene.rays(), surfaces, strict=True)
    ]
    extent = bounds(scene.project()[..., :2])
    if extent is None:
        return
    size = (picture.shape[1], picture.shape[0])
    left, top = np.clip(np.floor(extent[0]), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(extent[1]) + 1, 0, size).astype(int)
    for row in range(top, bottom, BAND_ROWS):
        window = picture[row : min(row + BAND_ROWS, bottom), left:right]
        buffer = FrameBuffer.black(
            SAMPLES * window.shape[0], SAMPLES * window.shape[1], dtype=np.uint8
        )
        projected = scene.resampled(SAMPLES, left=left, top=row).project()
        for person, vertices_px in enumerate(projected):
            draw_mesh(buffer, vertices_px, scene.faces, shaded[person], person=person)
        _blend(window, buffer, opacity)


def _blend(window: NDArray[np.uint8], buffer: FrameBuffer, opacity: float) -> None:
    """Average the samples of each pixel, and mix them with the picture behind."""
    share = np.float32(opacity / SAMPLES**2)
    covered = _block_sum((buffer.person_id != NOTHING).view(np.uint8)) * share
    # The buffer is black where nothing was drawn, so its sum is that of the covered samples.
    mixed = _block_sum(buffer.colour) * share + window * (1 - covered)[..., None]
    window[:] = np.minimum(mixed + np.float32(0.5), 255).astype(np.uint8)


def _block_sum(samples: NDArray[np.uint8]) -> NDArray[np.uint16]:
    total = samples[::SAMPLES, ::SAMPLES].astype(np.uint16)
    for k in range(1, SAMPLES**2):
        total += samples[k // SAMPLES :: SAMPLES, k % SAMPLES :: SAMPLES]
    return total


def person_colours(count: int) -> NDArray[np.float32]:
    """Return (count, 3) sRGB colours in [0, 1]: the palette, then new hues without end."""
    golden = (5**0.5 - 1) / 2  # steps by the golden ratio keep successive hues far apart
    more = [
        colorsys.hls_to_rgb((0.08 + k * golden) % 1.0, 0.70, 0.55)
        for k in range(count - len(PALETTE))
    ]
    return np.array([*PALETTE, *more][:count], np.float32).reshape(count, 3)


def track_colours(numbers: Sequence[int]) -> NDArray[np.float32]:
    """Return (N, 3) the colours of a video's tracks by their numbers, from 1; they repeat."""
    return person_colours(_TRACK_COLOURS)[(np.array(numbers, np.int64) - 1) % _TRACK_COLOURS]


def vertex_normals(vertices: ArrayLike, faces: ArrayLike) -> NDArray[np.float64]:
    """Return unit normals (V, 3) of vertices (V, 3), area-weighted over faces (F, 3).

    They point outwards if the triangles are counter-clockwise seen from outside. A vertex without a
    triangle of finite area has the normal 0, never NaN.
    """
    points = np.asarray(vertices, np.float64)
    triangles = np.asarray(faces)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    with np.errstate(invalid="ignore", over="ignore"):
        face_normals = np.cross(b - a, c - a)
    # NaN compares as false, so it becomes 0 too. The bound keeps the squares below finite.
    face_normals[~(np.abs(face_normals) < 1e100).all(axis=1)] = 0.0
    corners = triangles.T.ravel()
    normals = np.stack(
        [np.bincount(corners, np.tile(axis, 3), len(points)) for axis in face_normals.T], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def shade(
    normals: ArrayLike, colour: ArrayLike, *, towards_camera: ArrayLike = (0.0, 0.0, -1.0)
) -> NDArray[np.float32]:
    """Return the sRGB colours (V, 3) in [0, 1] of a matt surface.

    Args:
        normals: (V, 3) unit, in the camera frame (x right, y down, z forward).
        colour: (3,) or (V, 3) sRGB of the surface, in [0, 1].
        towards_camera: (3,) or (V, 3) unit, from the surface to the camera.
    """
    facing = np.asarray(normals, np.float64)
    light = np.full(len(facing), AMBIENT)
    for direction, strength in LIGHTS:
        towards_light = np.asarray(direction) / np.linalg.norm(direction)
        # Half-Lambert: the light fades softly around the limb, without a hard edge.
        light += strength * (0.5 + 0.5 * (facing @ towards_light)) ** 2
    frontal = np.clip((facing * np.asarray(towards_camera)).sum(axis=1), 0.0, 1.0)
    light *= 1.0 - CONTOUR * (1.0 - frontal) ** 2
    linear = np.asarray(colour, np.float64) ** GAMMA * light[:, None]
    return (np.clip(linear, 0.0, 1.0) ** (1.0 / GAMMA)).astype(np.float32)
