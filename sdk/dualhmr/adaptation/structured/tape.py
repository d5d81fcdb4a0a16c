"""What every step saw, written down on the device: a row a step, a line a person."""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.structured.affine_head import DECODE, FIRST, SECOND, AffineHead
from dualhmr.adaptation.structured.look import Look
from dualhmr.adaptation.structured.outer import Gradients
from dualhmr.adaptation.structured.rounds import Rounds, Slopes, gradients_of


class Row(NamedTuple):
    """A step's row."""

    watched: Tensor
    """(N,), on the host."""
    estimate: Tensor
    """(N, E)."""
    line: Tensor
    """(N, numbers), all that the row holds."""


class Tape:
    """Rows for N persons, and the index of the next one, on the device like the rows.

    A line holds all that the gradients of a head's matrices are made of, which is little beside the
    matrices: about 2 n (E + 2 H) numbers.
    """

    def __init__(self, head: AffineHead, persons: int, rows: int) -> None:
        estimate, hidden = head.matrices[FIRST].shape
        count = head.iterations
        self._shapes = (
            (count + 1, estimate),
            (1, 1),
            *((count, hidden),) * 2,
            (count, estimate),
            *((count, hidden),) * 2,
        )
        """Estimates, the watched loss, h1 and h2; slopes of estimates, h1 and h2."""
        self._sizes = [a * b for a, b in self._shapes]
        self._last = slice(count * estimate, (count + 1) * estimate + 1)
        """The last estimate and the watched loss, side by side."""
        self._rows = head.start.new_zeros(rows, persons, sum(self._sizes))
        self.index = torch.zeros(1, dtype=torch.int64, device=head.start.device)
        """(1,)."""

    def write(self, seen: Look) -> None:
        """What a look saw, into the row at `index`."""
        gradients, persons = seen.gradients, len(seen.watched)
        parts = (
            gradients[FIRST].left,
            seen.estimate,
            seen.watched,
            gradients[SECOND].right,
            gradients[DECODE].right,
            gradients[DECODE].left,
            gradients[FIRST].right,
            gradients[SECOND].left,
        )
        line = torch.cat([part.reshape(persons, -1) for part in parts], dim=1)
        self._rows.index_copy_(0, self.index, line[None])

    def write_last(self, watched: Tensor, estimate: Tensor) -> None:
        """What the last look saw; the rest of the row is not to be read."""
        line = torch.cat([estimate, watched[:, None]], dim=1)
        self._rows[..., self._last].index_copy_(0, self.index, line[None])

    def read(self, start: int, stop: int) -> list[Row]:
        """Copies of some rows; waits for the device."""
        lines = self._rows[start:stop].clone()
        last = lines[..., self._last]
        on_host = last[..., -1].cpu()
        return [Row(*row) for row in zip(on_host, last[..., :-1], lines, strict=True)]

    def gradients(self, row: Row, given: Tensor) -> Gradients:
        """Those that the step had, where `given` (N, 1, G + 1) is c and a 1."""
        parts = row.line.split(self._sizes, dim=1)
        shaped = [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        rounds = Rounds(shaped[0], *shaped[2:4])
        return gradients_of(rounds, Slopes(*shaped[4:]), given)
