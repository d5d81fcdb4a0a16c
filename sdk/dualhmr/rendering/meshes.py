"""Persons' meshes over a photograph, with smooth outlines."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.rendering.pictures import check_picture
from dualhmr.rendering.scene import Scene, bounds, person_colours, shade, vertex_normals
from dualhmr.rendering.zbuffer import NOTHING, FrameBuffer, draw_mesh

# Samples per pixel along each axis, averaged into smooth outlines.
SAMPLES = 3

# The rows drawn at a time, so that the samples of a large photograph need not exist at once.
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

    What is compared between persons is depth divided by focal length, metres per pixel: the
    inverse of the scale at which a person appears. Where all persons share a camera, that orders
    them as depth does. Where every person has the camera of its own crop, depths are not
    comparable (a longer focal length only makes for a larger depth), but scales still are.

    Args:
        vertices: (P, V, 3) metres, camera frame (x right, y down, z forward). Triangles with a
            vertex that is not finite or is behind the camera are left out.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        focal_length: (P,) pixels, or one number.
        principal_point: (P, 2) pixels, or one point; (0, 0) is the centre of the first pixel.
        background: (H, W, 3), left as it is.
        colours: (P, 3) sRGB in [0, 1]; `person_colours` by default.
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
    if surfaces.shape != (persons, 3):
        raise ValueError(f"colours must be {(persons, 3)}, got {surfaces.shape}")
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
    """Average the samples of each pixel, and mix them with what is behind them."""
    share = np.float32(opacity / SAMPLES**2)
    covered = _block_sum((buffer.person_id != NOTHING).view(np.uint8)) * share
    # The buffer began black, so its sum is the covered samples' alone.
    mixed = _block_sum(buffer.colour) * share + window * (1 - covered)[..., None]
    window[:] = np.minimum(mixed + np.float32(0.5), 255).astype(np.uint8)


def _block_sum(samples: NDArray[np.uint8]) -> NDArray[np.uint16]:
    total = samples[::SAMPLES, ::SAMPLES].astype(np.uint16)
    for k in range(1, SAMPLES**2):
        total += samples[k // SAMPLES :: SAMPLES, k % SAMPLES :: SAMPLES]
    return total
