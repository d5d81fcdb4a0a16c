"""A skeleton, its skin and its motion as binary glTF 2.0 (`.glb`): metres, y-up.

Written here: trimesh writes meshes but no skins, and what is left is one JSON object and arrays.
"""

import json
import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import BodyArrays, FloatArray
from dualhmr.motion.quaternions import matrix_to_quaternion, without_flips
from dualhmr.motion.skeleton import Array, SkeletonMotion
from dualhmr.rendering.meshes import GAMMA, PALETTE, vertex_normals

_BYTE, _SHORT, _INT, _FLOAT = 5121, 5123, 5125, 5126
"""glTF's codes of uint8, uint16, uint32 and float32."""
_CODES = {"uint8": _BYTE, "uint16": _SHORT, "uint32": _INT, "float32": _FLOAT}
_VERTEX_DATA, _INDICES = 34962, 34963
_INFLUENCES = 4
"""Joints that move a vertex. glTF may have more, but many viewers read four."""


class SkinnedMesh(NamedTuple):
    """The skin at rest."""

    vertices: Array
    """(V, 3) metres, y-up, in the frame of the skeleton's rest joints."""
    normals: Array
    """(V, 3) unit."""
    faces: npt.NDArray[np.int64]
    """(F, 3)."""
    weights: npt.NDArray[np.floating[Any]]
    """(V, J)."""


def skin_at_rest(body: BodyArrays, betas: FloatArray, rotations: FloatArray) -> SkinnedMesh:
    """The skin of a shape (B,), for a motion (T, 24, 3, 3).

    SMPL corrects its vertices for each pose, which a skin cannot. The mean of the corrections is in
    the mesh: it is exact for a motion of one frame.
    """
    feature = (rotations[:, 1:] - np.eye(3)).reshape(len(rotations), -1).mean(0)
    vertices = body.v_template + body.shapedirs @ betas + body.posedirs @ feature
    normals = vertex_normals(vertices, body.faces)
    # A vertex without a triangle has the normal 0, and glTF wants unit ones.
    normals[~normals.any(1)] = (0, 1, 0)
    return SkinnedMesh(vertices, normals, body.faces, body.weights)


def skinned_glb(skeleton: SkeletonMotion, mesh: SkinnedMesh) -> bytes:
    """The file: one mesh, its skin of J joints, and an animation `motion` where T > 1.

    The nodes stand in the first frame. Of more than four joints that move a vertex, the four that
    move it most are kept.
    """
    buffer = _Buffer()
    turns = without_flips(matrix_to_quaternion(skeleton.rotations))[..., [1, 2, 3, 0]]
    count = len(skeleton.names)
    nodes = [_node(skeleton, joint, turns) for joint in range(count)]
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "dualhmr"},
        "scene": 0,
        "scenes": [{"nodes": [0, count]}],
        "nodes": [*nodes, {"name": "body", "mesh": 0, "skin": 0}],
        "meshes": [{"name": "body", "primitives": [_primitive(buffer, mesh)]}],
        "materials": [_clay()],
        "skins": [
            {
                "joints": list(range(count)),
                "skeleton": 0,
                "inverseBindMatrices": buffer.add(_inverse_bind(skeleton.rest), "MAT4"),
            }
        ],
    }
    if len(turns) > 1:
        content["animations"] = [_animation(buffer, skeleton, turns)]
    return buffer.file(content)


def _node(skeleton: SkeletonMotion, joint: int, turns: Array) -> dict[str, Any]:
    place = skeleton.offsets[joint] if joint else skeleton.root[0]
    node: dict[str, Any] = {
        "name": skeleton.names[joint],
        "translation": place.tolist(),
        "rotation": turns[0, joint].tolist(),
    }
    children = skeleton.children(joint)
    return node | {"children": children} if children else node


def _primitive(buffer: "_Buffer", mesh: SkinnedMesh) -> dict[str, Any]:
    strongest = np.argsort(-mesh.weights, axis=1, kind="stable")[:, :_INFLUENCES]
    weights = np.take_along_axis(mesh.weights, strongest, axis=1)
    weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    # glTF wants joint 0 where a weight is 0.
    joints = np.where(weights > 0, strongest, 0).astype(np.uint8)
    index = np.uint16 if len(mesh.vertices) < 1 << 16 else np.uint32
    return {
        "attributes": {
            "POSITION": buffer.add(mesh.vertices, "VEC3", target=_VERTEX_DATA, bounds=True),
            "NORMAL": buffer.add(mesh.normals, "VEC3", target=_VERTEX_DATA),
            "JOINTS_0": buffer.add(joints, "VEC4", target=_VERTEX_DATA),
            "WEIGHTS_0": buffer.add(weights, "VEC4", target=_VERTEX_DATA),
        },
        "indices": buffer.add(mesh.faces.astype(index).ravel(), "SCALAR", target=_INDICES),
        "material": 0,
    }


def _clay() -> dict[str, Any]:
    colour = [channel**GAMMA for channel in PALETTE[0]]  # glTF's colours are linear
    rough = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"pbrMetallicRoughness": rough}


def _inverse_bind(rest: Array) -> Array:
    """(J, 4, 4) from the mesh at rest to each joint's frame, transposed as glTF stores them."""
    matrices = np.tile(np.eye(4), (len(rest), 1, 1))
    matrices[:, 3, :3] = -rest
    return matrices


def _animation(buffer: "_Buffer", skeleton: SkeletonMotion, turns: Array) -> dict[str, Any]:
    seconds = np.arange(len(turns)) / skeleton.fps
    times = buffer.add(seconds, "SCALAR", bounds=True)
    tracks = [(0, "translation", buffer.add(skeleton.root, "VEC3"))]
    tracks += [
        (joint, "rotation", buffer.add(turns[:, joint], "VEC4")) for joint in range(turns.shape[1])
    ]
    return {
        "name": "motion",
        "samplers": [
            {"input": times, "output": output, "interpolation": "LINEAR"} for _, _, output in tracks
        ],
        "channels": [
            {"sampler": number, "target": {"node": node, "path": path}}
            for number, (node, path, _) in enumerate(tracks)
        ],
    }


class _Buffer:
    """The binary part of the file, and what glTF says of its arrays."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def add(
        self,
        values: npt.NDArray[Any],
        kind: str,
        *,
        target: int | None = None,
        bounds: bool = False,
    ) -> int:
        """The number of the array; floating-point numbers become float32."""
        array = values.astype(np.float32) if values.dtype.kind == "f" else values
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        view = {"buffer": 0, "byteOffset": len(self._bytes), "byteLength": array.nbytes}
        self._views.append(view | ({"target": target} if target else {}))
        self._bytes += array.tobytes()
        accessor = {
            "bufferView": len(self._views) - 1,
            "componentType": _CODES[array.dtype.name],
            "count": len(array),
            "type": kind,
        }
        if bounds:
            columns = array.reshape(len(array), -1)
            accessor |= {"min": columns.min(0).tolist(), "max": columns.max(0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def file(self, content: dict[str, Any]) -> bytes:
        """Header, JSON and this buffer, each padded to four bytes."""
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        content |= {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._bytes)}],
        }
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self._bytes), b"BIN\0") + bytes(self._bytes)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
