"""Meshes of persons, each seen by a pinhole camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEAR_M = 0.01

# Farther vertices are taken for a failure, and left out like NaN.
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

        The window begins at the pixel (left, top); one of its pixels becomes `scale` pixels wide.
        """
        # Whole numbers are pixel centres; a pixel's edge, at -0.5, is what scaling keeps in place.
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
