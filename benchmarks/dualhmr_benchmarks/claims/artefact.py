"""One of the paper's tables or figures, as data: experiments, comparisons, the paper's numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualhmr_benchmarks.claims.experiments.experiment import Experiment
from dualhmr_benchmarks.claims.experiments.setting import Setting

MPJPE, PA_MPJPE, PVE, LOSS_2D = "mpjpe_mm", "pa_mpjpe_mm", "pve_centred_mm", "true_2d_loss"
BODY_MEASURES = (MPJPE, PA_MPJPE, PVE)
BEFORE, AFTER = 0, -1


def paper(mpjpe: float, pa_mpjpe: float, pve: float | None = None) -> dict[str, float]:
    """A row of the paper's table, in millimetres."""
    numbers = {MPJPE: mpjpe, PA_MPJPE: pa_mpjpe}
    return numbers if pve is None else numbers | {PVE: pve}


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    label: str
    experiment: Experiment
    step: int = AFTER
    """Which errors: an index into `SeedErrors.steps`, so `BEFORE`, `AFTER`, or the number of steps
    if the experiment has errors after every step."""
    paper: Mapping[str, float] = field(default_factory=dict)


def row(
    label: str,
    recipe: str,
    schedule: str,
    step: int = AFTER,
    *,
    paper: Mapping[str, float] | None = None,
    **options: Any,
) -> Row:
    """A row of `Experiment(recipe, schedule, **options)`."""
    return Row(label, Experiment(recipe, schedule, **options), step, paper or {})


@dataclass(frozen=True)
class Comparison:
    """Two rows, by their labels, whose difference a claim is about."""

    of: str
    against: str
    measure: str = PA_MPJPE


ExtraFiles = Callable[[Setting, Path], Mapping[str, str]]
"""Writes further files into a folder; returns facts for the report."""


@dataclass(frozen=True)
class Artefact:
    """One name that `dualhmr reproduce` knows."""

    name: str
    title: str
    says: str
    """What the paper says, or the question if it says nothing."""
    comparable: str
    """What of its numbers and ours can be compared."""
    rows: tuple[Row, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    measures: tuple[str, ...] = BODY_MEASURES
    levels: tuple[str, ...] = ()
    """What labels end with, where the same methods are compared at several levels: the plot then
    has a row for each method, and a colour for each level."""
    extra_files: ExtraFiles | None = None
    extra_experiments: tuple[Experiment, ...] = ()
    """Those that `extra_files` needs and no row has."""

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """All that must be evaluated."""
        return (*(row.experiment for row in self.rows), *self.extra_experiments)

    def row(self, label: str) -> Row:
        """By its label."""
        (row,) = (row for row in self.rows if row.label == label)
        return row
