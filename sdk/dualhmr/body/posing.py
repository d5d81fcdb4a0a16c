"""Linear blend skinning in NumPy, without gradients.

The formulas and conventions are those of `dualhmr.body.model`; a test compares the two. What is
constant for a body is computed once.

Vertices are sorted by the joints that correct them and cut into blocks, so that few joints correct
a block: on the free body, whose pose corrections are local, 3 of 23. In a block coordinates lie in
planes, so that memory is read in order. Blocks are also small enough that BLAS does not start
threads, which wait for each other for milliseconds where cores are busy.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_COUNT, BodyArrays, FloatArray, ancestor_rounds

_BLOCK = 256
_FEATURES = 9
"""Numbers of the pose feature for each joint below the root."""


class _Correction(NamedTuple):
    """How the pose displaces the vertices of one block."""

    block: int
    joints: npt.NDArray[np.int64]
    """Which of the 23 joints below the root do."""
    directions: FloatArray
    """(9 len(joints), 3 _BLOCK)."""


class BodyPoser:
    """Poses one body."""

    def __init__(self, body: BodyArrays) -> None:
        """Computes what is constant."""
        self._rounds = ancestor_rounds(body.parents)
        self._parents = list(body.parents[1:])
        shapes = np.concatenate([body.v_template[..., None], body.shapedirs], axis=-1)
        basis = np.einsum("jv,vcb->bjc", body.joint_regressor, shapes)
        self._joint_basis = basis.reshape(len(basis), -1)
        """(1 + B, 24 * 3): rest joints for 1 and each beta."""
        directions = body.posedirs.reshape(body.vertex_count, 3, -1, _FEATURES)
        corrects = np.asarray(directions.any((1, 3)))
        last = corrects.shape[1] - corrects[:, ::-1].argmax(1)
        self._order = np.lexsort((corrects.argmax(1), last))
        self._shape_basis = self._blocks(shapes).transpose(3, 0, 2, 1).reshape(shapes.shape[-1], -1)
        """(1 + B, blocks * 3 * _BLOCK): rest vertices for 1 and each beta."""
        block, row = np.divmod(np.argsort(self._order), _BLOCK)
        places = (3 * block[:, None] + np.arange(3)) * _BLOCK + row[:, None]
        self._places: npt.NDArray[np.intp] = places
        """(V, 3) where a vertex's coordinates lie in (blocks, 3, _BLOCK)."""
        self._weights = np.ascontiguousarray(self._blocks(body.weights).transpose(0, 2, 1))
        """(blocks, 24, _BLOCK)."""
        self._corrections = [
            _Correction(
                block,
                joints,
                np.ascontiguousarray(
                    moved[:, :, joints].transpose(2, 3, 1, 0).reshape(-1, 3 * _BLOCK)
                ),
            )
            for block, moved in enumerate(self._blocks(directions))
            if (joints := moved.any((0, 1, 3)).nonzero()[0]).size
        ]

    def _blocks(self, of_vertices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(V, ...) to (blocks, _BLOCK, ...), sorted, and filled up with zeros."""
        count = -(-len(of_vertices) // _BLOCK)
        filled = np.zeros((count * _BLOCK, *of_vertices.shape[1:]), np.float32)
        filled[: len(of_vertices)] = of_vertices[self._order]
        return filled.reshape(count, _BLOCK, *of_vertices.shape[1:])

    def __call__(self, rotations: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See `pose_arrays`."""
        weights = _shape_weights(betas)
        transforms, joints = self._skeletons(rotations, weights)
        posed = np.empty((len(rotations), *self._places.shape), rotations.dtype)
        for person, at_rest in enumerate(self._at_rest(rotations, weights)):
            moved = self._moved(transforms[person], at_rest)
            # NumPy's faster way of taking items: all are in range.
            np.take(moved, self._places, out=posed[person], mode="clip")
        return posed, joints

    def joints(self, rotations: FloatArray, betas: FloatArray) -> FloatArray:
        """See `pose_joints`."""
        return self._skeletons(rotations, _shape_weights(betas))[1]

    def _skeletons(
        self, rotations: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(N, 12, 24), by which a vertex moves with each joint, and posed joints (N, 24, 3)."""
        people = len(rotations)
        rest = (weights @ self._joint_basis).reshape(people, JOINT_COUNT, 3)
        # Homogeneous, and one more for what is above the root.
        world = np.tile(np.eye(4, dtype=rotations.dtype), (people, JOINT_COUNT + 1, 1, 1))
        world[:, :-1, :3, :3] = rotations
        world[:, 0, :3, 3] = rest[:, 0]
        world[:, 1:-1, :3, 3] = rest[:, 1:] - rest[:, self._parents]
        for ancestors in self._rounds:
            world[:, :-1] = world[:, ancestors] @ world[:, :-1]
        transforms, joints = world[:, :-1, :3].copy(), world[:, :-1, :3, 3].copy()
        # A vertex x moves with joint j to G_j (x - rest_j) + joint_j.
        transforms[..., 3] -= (transforms[..., :3] @ rest[..., None])[..., 0]
        return transforms.reshape(people, JOINT_COUNT, 12).swapaxes(1, 2), joints

    def _at_rest(self, rotations: FloatArray, weights: FloatArray) -> FloatArray:
        """(N, blocks, 3, _BLOCK): the shaped and corrected vertices before they are moved."""
        people, blocks = len(rotations), len(self._weights)
        rest = (weights @ self._shape_basis).reshape(people, blocks, 1, 3 * _BLOCK)
        pose = rotations[:, 1:] - np.eye(3, dtype=rotations.dtype)
        for block, joints, directions in self._corrections:
            rest[:, block] += pose[:, joints].reshape(people, 1, len(directions)) @ directions
        return rest.reshape(people, blocks, 3, _BLOCK)

    def _moved(self, transforms: FloatArray, at_rest: FloatArray) -> FloatArray:
        """(12, 24) and (blocks, 3, _BLOCK) -> vertices (blocks, 3, _BLOCK), sorted."""
        rows = (transforms @ self._weights).reshape(-1, 3, 4, _BLOCK)
        rows[:, :, :3] *= at_rest[:, None]
        moved: FloatArray = rows.sum(2)
        return moved


def _shape_weights(betas: FloatArray) -> FloatArray:
    """(N, 1, 1 + B), of what is at rest.

    All products are of stacks with an item for each person, and never of a matrix of persons, which
    would round a body's numbers otherwise if there are others.
    """
    return np.concatenate([np.ones_like(betas[:, :1]), betas], axis=1)[:, None]


def pose_arrays(
    body: BodyArrays, rotations: FloatArray, betas: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Vertices (N, V, 3) and joints (N, 24, 3) of N bodies in metres, before translation.

    `rotations` (N, 24, 3, 3) are relative to the parent joint, the first is the global orientation.
    `betas` (N, B).
    """
    return _poser(body)(rotations, betas)


def pose_joints(body: BodyArrays, rotations: FloatArray, betas: FloatArray) -> FloatArray:
    """The joints (N, 24, 3) of `pose_arrays`, without its vertices: in a hundredth of the time."""
    return _poser(body).joints(rotations, betas)


@lru_cache(maxsize=2)
def _poser(body: BodyArrays) -> BodyPoser:
    return BodyPoser(body)
