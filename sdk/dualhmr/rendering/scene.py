"""Light on a mesh: normals, colours of persons, brightness."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


NEAR_M = 0.01

# What is farther off is taken for a failure, and left out as NaN is.
FAR_M = 1e6


@dataclass(frozen=True)
class Scene:
    """Meshes of one topology, each seen by its own pinhole camera.

    Attributes:
        vertices: (P, V, 3) metres, camera frame (x right, y down, z forward); NaN where unknown.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        focal_length: (P,) pixels.
        principal_point: (P, 2) pixels; (0, 0) is the centre of the picture's first pixel.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    focal_length: NDArray[np.float64]
    principal_point: NDArray[np.float64]

    @classmethod
    def checked(
        cls,
        vertices: ArrayLike,
        faces: ArrayLike,
        *,
        focal_length: ArrayLike,
        principal_point: ArrayLike,
    ) -> "Scene":
        """Return a scene of copies; one focal length or point serves all persons.

        Vertices that are not finite, or absurdly far, become NaN: they are never drawn.

        Raises:
            ValueError: a shape is wrong, an index in `faces` names no vertex, or a camera is not
                finite or its focal length not positive.
        """
        points = np.array(vertices, np.float64)
        triangles = np.array(faces, np.int64)
        if points.ndim != 3 or points.shape[2] != 3:
            raise ValueError(f"vertices must be (P, V, 3), got {points.shape}")
        if triangles.ndim != 2 or triangles.shape[1] != 3:
            raise ValueError(f"faces must be (F, 3), got {triangles.shape}")
        points[~(np.abs(points) < FAR_M).all(axis=-1)] = np.nan
        persons, count = points.shape[:2]
        if triangles.size and not 0 <= triangles.min() <= triangles.max() < count:
            raise ValueError(f"faces must name vertices 0 to {count - 1}")
        focal = _one_each("focal_length", focal_length, (persons,))
        if not (focal > 0).all():
            raise ValueError(f"focal_length must be positive, got {focal.tolist()}")
        centre = _one_each("principal_point", principal_point, (persons, 2))
        return cls(points, triangles, focal, centre)

    def select(self, persons: Sequence[int]) -> "Scene":
        """Return the scene with these persons only."""
        chosen = list(persons)
        return replace(
            self,
            vertices=self.vertices[chosen],
            focal_length=self.focal_length[chosen],
            principal_point=self.principal_point[chosen],
        )

    def resampled(self, scale: float, *, left: float = 0, top: float = 0) -> "Scene":
        """Return the scene for a window of the picture, enlarged.

        The window begins with the pixel (left, top), and its pixels become `scale` as large.
        """
        # A pixel's centre is half a pixel from its edges at either size.
        corner = np.array([left, top]) - 0.5
        return replace(
            self,
            focal_length=self.focal_length * scale,
            principal_point=(self.principal_point - corner) * scale - 0.5,
        )

    def project(self) -> NDArray[np.float64]:
        """Return (P, V, 3): x and y in pixels, and depth over focal length, metres per pixel.

        A vertex nearer than a centimetre, or behind the camera, is NaN.
        """
        depth = self.vertices[..., 2:]
        visible = np.where(depth > NEAR_M, self.vertices, np.nan)
        focal = self.focal_length[:, None, None]
        pixels = visible[..., :2] / visible[..., 2:] * focal + self.principal_point[:, None]
        return np.concatenate([pixels, visible[..., 2:] / focal], axis=-1)

    def rays(self) -> NDArray[np.float64]:
        """Return the unit directions (P, V, 3) in which the camera sees the vertices."""
        distance = np.linalg.norm(self.vertices, axis=-1, keepdims=True)
        return self.vertices / np.where(distance > 0, distance, np.nan)


def bounds(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the least and the greatest (D,) of the finite among points (..., D); None if none."""
    finite = points[np.isfinite(points).all(axis=-1)]
    return (finite.min(axis=0), finite.max(axis=0)) if len(finite) else None


def _one_each(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, np.float64)
    if array.shape not in (shape, shape[1:]):
        raise ValueError(f"{name} must be {shape}, one a person, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array.tolist()}")
    return np.array(np.broadcast_to(array, shape))
