"""Light on a mesh: normals, colours of persons, brightness."""

import colorsys

import numpy as np
from numpy.typing import ArrayLike, NDArray

# sRGB, told apart by lightness as well as by hue.
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

# How dark a surface becomes where it turns away from the camera: it draws each limb's contour.
CONTOUR = 0.45

GAMMA = 2.2


def person_colours(count: int) -> NDArray[np.float32]:
    """Return (count, 3) sRGB colours in [0, 1]: the palette, then ever new hues."""
    golden = (5**0.5 - 1) / 2
    more = [
        colorsys.hls_to_rgb((0.08 + k * golden) % 1.0, 0.70, 0.55)
        for k in range(count - len(PALETTE))
    ]
    return np.array([*PALETTE, *more][:count], np.float32).reshape(count, 3)


def vertex_normals(vertices: ArrayLike, faces: ArrayLike) -> NDArray[np.float64]:
    """Return unit normals (V, 3) of vertices (V, 3), area-weighted over faces (F, 3).

    They point out of a mesh whose triangles run counter-clockwise seen from outside. A vertex
    without a triangle of finite area has the normal 0; no NaN comes out.
    """
    points = np.asarray(vertices, np.float64)
    triangles = np.asarray(faces)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    with np.errstate(invalid="ignore", over="ignore"):
        face_normals = np.cross(b - a, c - a)
    # So written, NaN goes too; the bound keeps the squares below from overflowing.
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
        # Half-Lambert: the cosine wraps softly around the limb instead of ending in a hard edge.
        light += strength * (0.5 + 0.5 * (facing @ towards_light)) ** 2
    frontal = np.clip((facing * np.asarray(towards_camera)).sum(axis=1), 0.0, 1.0)
    light *= 1.0 - CONTOUR * (1.0 - frontal) ** 2
    linear = np.asarray(colour, np.float64) ** GAMMA * light[:, None]
    return (np.clip(linear, 0.0, 1.0) ** (1.0 / GAMMA)).astype(np.float32)
