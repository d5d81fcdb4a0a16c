"""What captured steps compute, kept on the device until a block of them is read."""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.affine_head import FC2, AffineHead
from dualhmr.adaptation.fast_head.head_gradients import (
    ActivationGradients,
    Activations,
    MatrixGradients,
    matrix_gradients,
)
from dualhmr.adaptation.fast_head.head_step import HeadEvaluation


class LoggedStep(NamedTuple):
    """A row of the log."""

    watched_loss: Tensor
    """(N,), on the host."""
    minimised_loss: Tensor
    """(N,), on the host."""
    estimate: Tensor
    """(N, E)."""
    numbers: Tensor
    """(N, .), the whole row."""


class StepLog:
    """Rows for N persons, and the index of the next row, both on the head's device.

    A row holds what the gradients of a head's matrices are made of, activations and their
    gradients. That is little beside the matrices: about 2 n (E + 2 H) numbers.
    """

    def __init__(self, head: AffineHead, persons: int, rows: int) -> None:
        estimate, count = len(head.start), head.iterations
        hidden = [(count, len(head.matrices[FC2]))] * 2 if head.has_hidden_layers else []
        self._layers = len(hidden)
        losses = [(1, 1)] * 2
        self._shapes = ((count + 1, estimate), *losses, *hidden, (count, estimate), *hidden)
        """Estimates, watched and minimised loss, hidden layers; then the gradients of estimates and
        hidden layers."""
        self._sizes = [a * b for a, b in self._shapes]
        self._last = slice(count * estimate, (count + 1) * estimate + 2)
        """The last estimate, the watched and the minimised loss, side by side."""
        self._rows = head.start.new_zeros(rows, persons, sum(self._sizes))
        self.index = torch.zeros(1, dtype=torch.int64, device=head.start.device)
        """(1,)."""

    def write(self, evaluation: HeadEvaluation) -> None:
        """Writes the row at `index`."""
        activations, gradients = evaluation.activations, evaluation.activation_gradients
        parts = (
            activations.estimates,
            evaluation.watched_loss,
            evaluation.minimised_loss,
            *activations.hidden,
            gradients.estimates,
            *gradients.hidden,
        )
        persons = len(evaluation.watched_loss)
        numbers = torch.cat([part.reshape(persons, -1) for part in parts], dim=1)
        self._rows.index_copy_(0, self.index, numbers[None])

    def write_last(self, watched_loss: Tensor, estimate: Tensor) -> None:
        """Writes the row of the final evaluation, which has no gradients."""
        numbers = torch.cat([estimate, *(watched_loss[:, None],) * 2], dim=1)
        self._rows[..., self._last].index_copy_(0, self.index, numbers[None])

    def read(self, start: int, stop: int) -> list[LoggedStep]:
        """Copies of some rows; waits for the device."""
        rows = self._rows[start:stop].clone()
        last = rows[..., self._last]
        watched, minimised = last[..., -2:].cpu().unbind(-1)
        return [
            LoggedStep(*row) for row in zip(watched, minimised, last[..., :-2], rows, strict=True)
        ]

    def gradients(self, step: LoggedStep, head_input: Tensor) -> MatrixGradients:
        """The matrices' gradients at a step, where `head_input` (N, 1, G + 1) is c and a 1."""
        parts = step.numbers.split(self._sizes, dim=1)
        estimates, _, _, *rest = (
            part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)
        )
        hidden, (gradient, *hidden_gradients) = rest[: self._layers], rest[self._layers :]
        return matrix_gradients(
            Activations(estimates, tuple(hidden)),
            ActivationGradients(gradient, tuple(hidden_gradients)),
            head_input,
        )
