"""The loss on vertices and its gradient as compiled loops, block by block of the skin.

The formulas are those of `dualhmr.objective.gradient.points.Vertices`. The blend shapes are the one
large array of a body. A block of them stays in the cache from the way there to the way back, so
they are read from memory once in a step. Rows of zeros, a joint or a blend weight that does not
concern a block, are left out.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import to_numpy
from dualhmr.body.arrays import BodyParts
from dualhmr.compiling import WorkerThreads, compiled_loop

_BLOCK = 64
"""S, vertices of a block: 218 rows of 3 x 64 numbers are 167 KB."""
_PIECES = 4
"""Pieces of work, of as many blocks each, for threads to share."""


class SkinBlocks(NamedTuple):
    """The skin in M blocks of S vertices; the last is filled up with zeros."""

    basis: Any
    """(R, 3 S): rows of all blocks, one after the other."""
    blend: Any
    """(R,) int64: the blend weight that each row belongs to."""
    ends: Any
    """(M + 1, 2) int64: where the rows of a block start in `basis` and in `weights`."""
    weights: Any
    """(Q, S): skinning weights."""
    joints: Any
    """(Q,) int64: where the transform of each row starts in `Scratch.transforms`."""


class Skin:
    """The vertices of one body, and the loss on them."""

    def __init__(self, body: BodyParts[Any], weight: float, dtype: Any) -> None:
        """Cuts the skin into blocks; `weight` is that of the loss."""
        self._blocks = _skin_blocks(body, dtype)
        self._weight = np.dtype(dtype).type(weight / (3 * body.vertex_count))
        size = _BLOCK
        self._sizes = ((3 * size,), (12, size), (3, size), (3 * size,), (size,))

    def place(self, scratch: Any) -> npt.NDArray[Any]:
        """The vertices (M, 3, S) of a posed skeleton, in blocks."""
        vertices = np.empty((len(self._blocks.ends) - 1, 3, _BLOCK), scratch.blend.dtype)
        self._run(vertices, scratch, True, 0, WorkerThreads(1))
        return vertices

    def compare(
        self, target: npt.NDArray[Any], scratch: Any, minimised: Any, workers: WorkerThreads
    ) -> Any:
        """The loss against `target` (M, 3, S).

        If it is minimised, 1 and not 0, adds its gradient to those of transforms and blend weights.
        """
        return self._run(target, scratch, False, minimised, workers)

    def _run(
        self, target: Any, scratch: Any, fills: bool, minimised: Any, workers: WorkerThreads
    ) -> Any:
        # The sums of each piece, added in this order however many threads there are.
        blend, transforms = scratch.grad_blend, scratch.grad_transforms
        grad_blend = np.zeros((_PIECES, len(blend)), target.dtype)
        grad_transforms = np.zeros((_PIECES, len(transforms)), target.dtype)
        posed, on = (scratch.blend, scratch.transforms), target.dtype.type(minimised)
        ends = np.linspace(0, len(target), _PIECES + 1).astype(int).tolist()
        losses = [0.0] * _PIECES

        def one(piece: int) -> None:
            gradients = (grad_blend[piece], grad_transforms[piece])
            memory = [np.empty(size, target.dtype) for size in self._sizes]
            part = (ends[piece], ends[piece + 1], self._weight, on, fills)
            losses[piece] = _compare_vertices(
                self._blocks, target, *posed, *gradients, *memory, *part
            )

        workers.run(one, _PIECES)
        if minimised:
            blend += grad_blend.sum(0)
            transforms += grad_transforms.sum(0)
        return sum(losses)


def _skin_blocks(body: BodyParts[Any], dtype: Any) -> SkinBlocks:
    basis, blend, weights, joints, ends = [], [], [], [], [(0, 0)]
    shapes, skinning = _padded(body)
    for block in range(len(shapes)):
        rows = shapes[block].any((1, 2)).nonzero()[0]
        movers = skinning[block].any(1).nonzero()[0]
        basis.append(shapes[block][rows].reshape(len(rows), -1))
        weights.append(skinning[block][movers])
        # The body's features begin with joint 1, those of `Scratch.blend` with the root.
        blend += np.where(rows > body.beta_count, rows + 9, rows).tolist()
        joints += (12 * movers).tolist()
        ends.append((len(blend), len(joints)))
    return SkinBlocks(
        np.concatenate(basis).astype(dtype),
        np.array(blend, np.int64),
        np.array(ends, np.int64),
        np.concatenate(weights).astype(dtype),
        np.array(joints, np.int64),
    )


def _padded(body: BodyParts[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Blend shapes (M, 1 + B + 207, 3, S) and skinning weights (M, 24, S)."""
    parts = (body.v_template[..., None], body.shapedirs, body.posedirs)
    shapes = np.concatenate([to_numpy(part) for part in parts], axis=-1)
    missing = -len(shapes) % _BLOCK
    shapes = np.pad(shapes, ((0, missing), (0, 0), (0, 0)))
    weights = np.pad(to_numpy(body.weights), ((0, missing), (0, 0)))
    blocks = len(shapes) // _BLOCK
    shapes = shapes.reshape(blocks, _BLOCK, 3, -1).transpose(0, 3, 2, 1)
    return shapes, weights.reshape(blocks, _BLOCK, -1).transpose(0, 2, 1)


@compiled_loop
def _compare_vertices(
    skin: Any,
    target: Any,
    blend: Any,
    transforms: Any,
    grad_blend: Any,
    grad_transforms: Any,
    rest: Any,
    movers: Any,
    out: Any,
    grad_rest: Any,
    turned: Any,
    first: int,
    last: int,
    weight: Any,
    minimised: Any,
    fills: bool,
) -> Any:
    """The loss of `Skin.compare` on the blocks from `first` to `last`.

    Where `fills`, the vertices are written into `target` instead.

    Memory for a block: rest (3 S,), movers (12, S), out (3, S), grad_rest (3 S,) and turned (S,).
    """
    size, zero = target.shape[2], weight - weight
    loss = 0.0
    for block in range(first, last):
        rest[:] = 0
        for row in range(skin.ends[block, 0], skin.ends[block + 1, 0]):
            number, basis = blend[skin.blend[row]], skin.basis[row]
            for i in range(rest.size):
                rest[i] += number * basis[i]
        movers[:] = 0
        for row in range(skin.ends[block, 1], skin.ends[block + 1, 1]):
            weights, start = skin.weights[row], skin.joints[row]
            for k in range(12):
                number = transforms[start + k]
                for v in range(size):
                    movers[k, v] += number * weights[v]
        away = zero
        for a in range(3):
            for v in range(size):
                placed = movers[4 * a + 3, v]
                for b in range(3):
                    placed += movers[4 * a + b, v] * rest[b * size + v]
                if fills:
                    target[block, a, v] = placed
                error = placed - target[block, a, v]
                away += abs(error)
                out[a, v] = minimised * (weight if error > 0 else -weight if error < 0 else zero)
        loss += weight * away
        if minimised == 0:
            continue
        for b in range(3):
            for v in range(size):
                total = zero
                for a in range(3):
                    total += movers[4 * a + b, v] * out[a, v]
                grad_rest[b * size + v] = total
        for row in range(skin.ends[block, 0], skin.ends[block + 1, 0]):
            basis, total = skin.basis[row], zero
            for i in range(rest.size):
                total += grad_rest[i] * basis[i]
            grad_blend[skin.blend[row]] += total
        for k in range(12):
            for v in range(size):
                turned[v] = out[k // 4, v] * (rest[k % 4 * size + v] if k % 4 < 3 else 1)
            for row in range(skin.ends[block, 1], skin.ends[block + 1, 1]):
                weights, total = skin.weights[row], zero
                for v in range(size):
                    total += turned[v] * weights[v]
                grad_transforms[skin.joints[row] + k] += total
    return loss
