"""One of the paper's tables or figures, as data: what is measured, and what is beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_benchmarks.claims.experiments.trials import Trial

MPJPE, PA_MPJPE, PVE, LOSS_2D = "mpjpe_mm", "pa_mpjpe_mm", "pve_mm", "true_2d_loss"
BODY_MEASURES = (MPJPE, PA_MPJPE, PVE)
BEFORE, AFTER = 0, -1


def paper(mpjpe: float, pa_mpjpe: float, pve: float | None = None) -> dict[str, float]:
    """A row of the paper's, in millimetres."""
    numbers = {MPJPE: mpjpe, PA_MPJPE: pa_mpjpe}
    return numbers if pve is None else numbers | {PVE: pve}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    label: str
    trial: Trial
    step: int = AFTER
    """Which of the trial's steps errors are told of, as an index: `BEFORE`, `AFTER`, or, of a trial
    with every step, the number of steps."""
    paper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contrast:
    """Two rows whose difference a claim is about, by their labels."""

    of: str
    against: str
    measure: str = PA_MPJPE


Also = Callable[[Setting, Path], Mapping[str, str]]
"""Writes further files into a folder; returns facts for the report."""


@dataclass(frozen=True)
class Artefact:
    """What `dualhmr reproduce` makes."""

    name: str
    title: str
    says: str
    """What the paper says, or the question where it says nothing."""
    comparable: str
    """What of its numbers and ours can be compared."""
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...]
    measures: tuple[str, ...] = BODY_MEASURES
    also: Also | None = None
    further: tuple[Trial, ...] = ()
    """Trials that `also` needs beside those of the rows."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All that must be measured."""
        return (*(row.trial for row in self.rows), *self.further)

    def row(self, label: str) -> Row:
        """By its label."""
        (row,) = (row for row in self.rows if row.label == label)
        return row
