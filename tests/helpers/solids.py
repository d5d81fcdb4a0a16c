"""Solids with outlines known in closed form, and the camera that sees them."""

import functools
import math
from typing import NamedTuple

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray


class Solid(NamedTuple):
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


def sphere(centre: ArrayLike = (0.0, 0.0, 0.0), radius: float = 1.0, detail: int = 4) -> Solid:
    """Return a sphere whose faces run counter-clockwise seen from outside."""
    unit = _unit_sphere(detail)
    return Solid(unit.vertices * radius + np.asarray(centre), unit.faces)


@functools.cache
def _unit_sphere(detail: int) -> Solid:
    mesh = trimesh.creation.icosphere(subdivisions=detail)
    return Solid(np.array(mesh.vertices), np.array(mesh.faces, np.int64))


def square(centre: ArrayLike, side: float) -> Solid:
    """Return a square that faces the camera."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * (side / 2)
    return Solid(corners + np.asarray(centre), np.array([[0, 2, 1], [0, 3, 2]]))


def sphere_outline_area(centre: ArrayLike, radius: float, focal_length: float) -> float:
    """Return the area of the ellipse as which a pinhole camera sees a sphere, in pixels."""
    x, y, z = np.asarray(centre, np.float64)
    distance_squared = x * x + y * y + z * z
    tangent = math.sqrt(distance_squared - radius**2)
    return math.pi * (focal_length * radius) ** 2 * tangent / (z * z - radius**2) ** 1.5


def project(
    vertices: ArrayLike, focal_length: float, principal_point: ArrayLike
) -> NDArray[np.float64]:
    """Return (V, 3): x and y in pixels, and depth."""
    points = np.asarray(vertices, np.float64)
    pixels = points[:, :2] / points[:, 2:] * focal_length + np.asarray(principal_point)
    return np.concatenate([pixels, points[:, 2:]], axis=1)
