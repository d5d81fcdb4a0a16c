"""Meshes as files for 3D viewers."""

import importlib
import io
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualhmr.files import atomic_path
from dualhmr.rendering.meshes import GAMMA, person_colours, vertex_normals
from dualhmr.rendering.scene import Scene

FloatArray: TypeAlias = NDArray[np.float64]

# A turn by 180 degrees about x: y down and z forward become y up and z towards the viewer.
CAMERA_TO_VIEWER = np.array([1.0, -1.0, -1.0])


def write_mesh(
    path: str | os.PathLike[str],
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    numbers: Sequence[int] | None = None,
) -> None:
    """Write persons' meshes as .glb, .obj or .ply, by the suffix, whole or not at all.

    The file is in the frame that viewers expect: metres, x right, y up, z towards the viewer;
    the camera stays at the origin. In .glb and .obj each person is an object, named person_0,
    person_1, ... or by `numbers`; .ply has no objects and holds one mesh, person after person.
    Vertices and triangles keep their order, and vertices carry normals. Without persons the file
    is valid and holds no mesh.

    Args:
        path: replaced if it exists.
        vertices: (P, V, 3) metres, camera frame (x right, y down, z forward).
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        numbers: one a person, for the names of their objects; 0 to P - 1 if left out.

    Raises:
        ValueError: the suffix is not known, a shape is wrong, a vertex is not finite, or an index
            in `faces` names no vertex.
        FileNotFoundError: the folder does not exist.
        PermissionError: the file may not be written there.
        ImportError: .glb or .ply without trimesh.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _EXPORTERS:
        raise ValueError(
            f"cannot tell the format of {os.fspath(path)!r}; known are {', '.join(_EXPORTERS)}"
        )
    scene = Scene.checked(vertices, faces, focal_length=1.0, principal_point=(0.0, 0.0))
    if not np.isfinite(scene.vertices).all():
        raise ValueError("vertices must be finite metres, got NaN, infinity or absurdly large ones")
    points = scene.vertices * CAMERA_TO_VIEWER
    numbers = range(len(points)) if numbers is None else numbers
    if len(numbers) != len(points):
        raise ValueError(f"numbers must be {len(points)}, one a person, got {len(numbers)}")
    normals = np.array([vertex_normals(person, scene.faces) for person in points])
    names = [f"person_{number}" for number in numbers]
    with atomic_path(path) as temporary:
        temporary.write_bytes(_EXPORTERS[suffix](points, normals, scene.faces, names))


def _glb(
    points: FloatArray, normals: FloatArray, faces: NDArray[np.int64], names: list[str]
) -> bytes:
    if not names:
        return _empty_glb()
    trimesh = _load_trimesh()
    scene = trimesh.Scene()
    for person, colour in enumerate(person_colours(len(points))):
        # Rough and not metallic: it looks like clay. glTF's colours are linear, not sRGB.
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=[*(colour**GAMMA).tolist(), 1.0],
            metallicFactor=0.0,
            roughnessFactor=0.8,
        )
        mesh = trimesh.Trimesh(
            points[person],
            faces,
            vertex_normals=normals[person],
            visual=trimesh.visual.TextureVisuals(material=material),
            process=False,
        )
        scene.add_geometry(mesh, node_name=names[person], geom_name=names[person])
    return _as_bytes(scene.export(file_type="glb", include_normals=True))


def _empty_glb() -> bytes:
    """A scene of nothing, which trimesh does not write."""
    text = json.dumps({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{}]}).encode()
    text += b" " * (-len(text) % 4)
    # glTF 2.0: magic, version and length of the file; length and type of its one chunk, the JSON.
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text


def _ply(
    points: FloatArray,
    normals: FloatArray,
    faces: NDArray[np.int64],
    names: list[str],  # noqa: ARG001
) -> bytes:
    trimesh = _load_trimesh()
    persons, count = points.shape[:2]
    mesh = trimesh.Trimesh(
        points.reshape(-1, 3),
        (faces + count * np.arange(persons)[:, None, None]).reshape(-1, 3),
        vertex_normals=normals.reshape(-1, 3) if persons else None,
        vertex_colors=np.repeat(person_colours(persons), count, axis=0),
        process=False,
    )
    return _as_bytes(mesh.export(file_type="ply", vertex_normal=True))


def _load_trimesh() -> Any:
    """It takes longer to load than a picture takes to draw."""
    try:
        return importlib.import_module("trimesh")
    except ImportError as error:
        raise ImportError(
            f".glb and .ply are written with trimesh ({error}): pip install trimesh; .obj needs "
            "nothing"
        ) from error


def _obj(
    points: FloatArray, normals: FloatArray, faces: NDArray[np.int64], names: list[str]
) -> bytes:
    """Written here, because trimesh drops the normals and computes others with SciPy."""
    text = io.StringIO()
    count = points.shape[1]
    for person in range(len(points)):
        text.write(f"o {names[person]}\n")
        np.savetxt(text, points[person], "v %.6f %.6f %.6f")
        np.savetxt(text, normals[person], "vn %.4f %.4f %.4f")
        # Indices start at 1 and count on through all objects.
        corners = np.repeat(faces + 1 + count * person, 2, axis=1)
        np.savetxt(text, corners, "f %d//%d %d//%d %d//%d")
    return text.getvalue().encode()


def _as_bytes(exported: Any) -> bytes:
    return exported.encode() if isinstance(exported, str) else bytes(exported)


_EXPORTERS = {".glb": _glb, ".obj": _obj, ".ply": _ply}
MESH_SUFFIXES = tuple(_EXPORTERS)
