"""Visible surfaces of synthetic people: the point of the body that each pixel of a crop shows."""

from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body, skin
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, image_to_crop
from dualhmr.compiling import compiled_loop
from dualhmr.rendering.zbuffer import NOTHING, FrameBuffer, draw_mesh
from dualhmr_training.data.synthetic.people import People

Layer: TypeAlias = tuple[NDArray[np.bool_] | NDArray[np.intp], NDArray[np.float32]]
"""Pixels of a surface, as a mask or as indices, and their colour (3,)."""

_NEAR_M = 0.1  # triangles nearer to the camera are not drawn
_HEAD = [JOINT_NAMES.index("neck"), JOINT_NAMES.index("head")]
_CROP_SIZE = torch.tensor([CROP_WIDTH, CROP_HEIGHT])


class Surface(NamedTuple):
    """The P pixels of a crop that show the person, row by row."""

    pixels: NDArray[np.intp]
    """(P,) indices `row * 192 + column`; some may lie outside the photograph."""
    template: NDArray[np.float32]
    """(3, P) metres: the point's place on the body at rest, of mean shape."""
    head: NDArray[np.float32]
    """(P,) skinning weight of neck and head, from 0 on the body to 1 on the head."""
    normal: NDArray[np.float32]
    """(3, P) of length about 1 (interpolated), camera frame (x right, y down, z forward)."""


class VisibleSurfaces:
    """The surfaces of N people, each drawn into their own crop when asked for."""

    @torch.no_grad()
    def __init__(self, body: Body, people: People) -> None:
        """Poses all people together, which is faster than one by one."""
        vertices = skin(body, people.rotations, people.betas).vertices
        placed = vertices + people.translation[:, None]
        crop = crop_pixels(placed[..., :2] / placed[..., 2:], people)
        self._corners_px = torch.cat([crop, placed[..., 2:]], dim=-1).numpy()
        self._vertices = vertices.numpy()
        self._faces = body.faces.numpy()
        head = body.weights[:, _HEAD].sum(1, keepdim=True)
        self._template_and_head = torch.cat([body.v_template, head], dim=1).numpy()

    def of(self, person: int) -> Surface:
        """The visible surface of one person."""
        normals = _normals(self._vertices[person], self._faces)
        # The z-buffer interpolates seven "colours": template (3), head (1) and normal (3).
        values = np.concatenate([self._template_and_head, normals], axis=1)
        channels = values.shape[1]
        buffer = FrameBuffer.black(CROP_HEIGHT, CROP_WIDTH, channels=channels)
        draw_mesh(buffer, self._corners_px[person], self._faces, values, near=_NEAR_M)
        pixels = np.flatnonzero(buffer.person_id != NOTHING)
        drawn = np.ascontiguousarray(buffer.colour.reshape(-1, channels).take(pixels, axis=0).T)
        return Surface(pixels, drawn[:3], drawn[3], drawn[4:])


def crop_pixels(points: Tensor, people: People) -> Tensor:
    """Points in the image (N, K, 2) -> crop pixels (N, K, 2), pixel centres at whole numbers."""
    return (image_to_crop(points, people.view) + 1) * _CROP_SIZE / 2 - 0.5


def _normals(points: NDArray[np.float32], faces: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit normals (V, 3), as `dualhmr.rendering.meshes.vertex_normals`, but ten times as fast."""
    normals = np.zeros_like(points)
    _add_normals(points, faces, normals)
    return normals


def _add_normals_loop(points, faces, normals):  # type: ignore[no-untyped-def]
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ux, vx = points[b, 0] - points[a, 0], points[c, 0] - points[a, 0]
        uy, vy = points[b, 1] - points[a, 1], points[c, 1] - points[a, 1]
        uz, vz = points[b, 2] - points[a, 2], points[c, 2] - points[a, 2]
        # The cross product's length is twice the area: vertices average their faces by area.
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for vertex in range(normals.shape[0]):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[vertex] /= length


# Without fastmath, which reorders sums, and differently on different processors.
_add_normals = compiled_loop(_add_normals_loop, fastmath=())
