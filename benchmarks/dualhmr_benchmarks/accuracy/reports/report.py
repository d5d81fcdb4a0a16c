"""What a reproduction found, as plain values: for tables, for plots, and for programs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A number for every seed."""

    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Line:
    """A row of the paper's table and of ours."""

    label: str
    measured: dict[str, Spread]
    """By measure, see `dualhmr_training.evaluation.results.MEASURES`; empty with a `note`."""
    paper: dict[str, float]
    """The paper's own numbers, as far as it has them."""
    note: str = ""
    """Why there is no number: what ended the training."""


@dataclass(frozen=True)
class Difference:
    """One method minus another on the same people, paired person by person."""

    label: str
    measure: str
    mean: float
    low: float
    high: float
    """The 95% confidence interval over people, each person's difference averaged over seeds."""
    by_seed: tuple[float, ...]
    paper: float | None
    """The same difference in the paper, as far as it has it."""


@dataclass(frozen=True)
class Report:
    """One of the paper's tables or figures, in miniature."""

    name: str
    title: str
    says: str
    """What the paper says, in a sentence or two."""
    comparable: str
    """What of the paper's numbers and ours can be compared."""
    facts: dict[str, str]
    """Budget, seeds, people, keypoints, commit, command: what running it again takes."""
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]
    trainings: tuple[dict[str, str], ...]
    """Recipe, seed, folder and commit of every training that is behind it."""
