"""What to do at test time, as data: phases of losses, optimiser and steps, and when to stop."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser

# "At most 14" in the paper. The release takes so many after its plain step: 15 in all.
_STEPS = 14
KEYPOINTS_WEIGHT = 5.0
"""Of the loss on 2D keypoints, by default."""

CONVERGED, OUT_OF_STEPS, NON_FINITE = "converged", "max_steps", "non_finite"
STOP_REASONS = (OUT_OF_STEPS, CONVERGED, NON_FINITE)
"""Why an adaptation ends; in the order of the numbers in a bundle's `adaptation.onnx`."""


class NonFiniteError(ValueError):
    """One person's loss, gradient or body is not finite, and no iterate can be returned."""


BEST, LAST = "best", "last"
ITERATES = (BEST, LAST)
"""Which iterate is the result: the one with the lowest watched loss, or the last one."""

WITHIN_PHASE, ACROSS_PHASES = "within_phase", "across_phases"
"""Rules to stop, see `Schedule`."""


@dataclass(frozen=True)
class Phase:
    """Up to `steps` steps of one optimiser on the sum of some losses."""

    optimiser: Optimiser
    steps: int
    losses: tuple[str, ...] | None = None
    """Names of the losses in the sum; None is all that the objective has."""
    scale: float = 1.0
    """The sum is multiplied by it: 1 / weight gives a single loss the weight 1."""
    head_only: bool = False
    """Whether the head alone changes, where the whole network is adapted."""


@dataclass(frozen=True)
class Schedule:
    """Phases in order, at least one.

    The watched loss, which is reported and decides which iterate is best, is that of the last
    phase. When the adaptation stops early is one of two rules:

    - `within_phase`: once two consecutive watched losses within a phase differ by less than
      `tolerance`. The later of the two is the last iterate.
    - `across_phases`, as in the Meta-HMR release: once the sums that two consecutive steps minimise
      do, though they may be of different losses. The step that finds this is still taken.

    Raises ValueError for no phases, or an unknown rule or `iterate`.
    """

    name: str
    phases: tuple[Phase, ...]
    tolerance: float
    """Of the losses, in their own unit; 0 takes all steps."""
    stop_rule: str = WITHIN_PHASE
    """`within_phase` or `across_phases`."""
    iterate: str = BEST
    """Which iterate is the result: `best`, that of the lowest watched loss, or `last`."""

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError(f"schedule {self.name!r} has no phases, expected at least one")
        allowed = {"stop_rule": (WITHIN_PHASE, ACROSS_PHASES), "iterate": ITERATES}
        for field, values in allowed.items():
            value = getattr(self, field)
            if value not in values:
                raise ValueError(f"{field} is {value!r}, expected one of {', '.join(values)}")

    @property
    def max_steps(self) -> int:
        """The steps of all phases together."""
        return sum(phase.steps for phase in self.phases)

    @property
    def watched(self) -> Phase:
        """The phase whose sum of losses is watched: the last one."""
        return self.phases[-1]

    def limited_to(self, max_steps: int) -> "Schedule":
        """The same schedule with `max_steps` steps: cut there, or with a longer last phase.

        Raises ValueError for a negative number.
        """
        if max_steps < 0:
            raise ValueError(f"max_steps is {max_steps}, expected 0 or more")
        phases, left = [], max_steps
        for phase in self.phases[:-1]:
            phases.append(replace(phase, steps=min(phase.steps, left)))
            left -= phases[-1].steps
        phases.append(replace(self.phases[-1], steps=left))
        return replace(self, phases=tuple(phases))


class PlannedStep(NamedTuple):
    """A step of a schedule, or the final evaluation."""

    phase: Phase
    updates: int
    """The number of updates in this phase before this one."""
    final: bool = False
    """Whether this is the evaluation after the last step."""


def planned_steps(schedule: Schedule) -> Iterator[PlannedStep]:
    """All steps in order, then the final evaluation."""
    for phase in schedule.phases:
        for updates in range(phase.steps):
            yield PlannedStep(phase, updates)
    last = schedule.phases[-1]
    yield PlannedStep(last, last.steps, final=True)


def paper_schedule(*, adam_rate: float = 1e-5, tolerance: float = 2e-5) -> Schedule:
    """Algorithm 1: Eq. 9 at every step - 2D keypoints and pseudo mesh - with Adam."""
    return Schedule("paper", (Phase(Adam(adam_rate), _STEPS),), tolerance)


def trained_schedule(
    inner_step: GradientDescent, *, adam_rate: float = 1e-5, tolerance: float = 2e-5
) -> Schedule:
    """Eq. 9 at every step: first the inner step of meta-training, then Adam.

    Training makes the networks good after that step, not before it. Where the inner step is long,
    they leave large corrections to it, such as that of the camera, for which Adam needs many steps.
    """
    adam = Phase(Adam(adam_rate), _STEPS - 1)
    return Schedule("trained", (Phase(inner_step, 1), adam), tolerance)


def release_schedule(
    inner_step: GradientDescent,
    *,
    adam_rate: float = 1e-5,
    tolerance: float = 2e-5,
    keypoints_weight: float = KEYPOINTS_WEIGHT,
) -> Schedule:
    """The authors' code: a plain step of Eq. 9 on the head, then 14 of Adam on the 2D keypoints.

    The later steps have weight 1, whatever the objective's `keypoints_weight`, and the last iterate
    is the result, better or not. The release adapts one set of parameters per batch, and the whole
    network from its second step on. Here every person has parameters of their own, and `scope` says
    which ones are adapted.
    """
    plain = Phase(inner_step, 1, head_only=True)
    keypoints_only = Phase(
        Adam(adam_rate),
        _STEPS,
        losses=("keypoints_2d",),
        scale=1 / keypoints_weight if keypoints_weight else 1.0,
    )
    return Schedule("release", (plain, keypoints_only), tolerance, ACROSS_PHASES, LAST)


def eft_schedule(*, adam_rate: float = 1e-5, tolerance: float = 2e-5) -> Schedule:
    """EFT (Joo et al., 3DV 2021; Eq. 4-5): Adam on the 2D keypoints, no pseudo mesh."""
    only_keypoints = Phase(Adam(adam_rate), _STEPS, losses=("keypoints_2d",))
    return Schedule("eft", (only_keypoints,), tolerance)


SCHEDULE_NAMES = ("paper", "trained", "release", "eft")


def named_schedule(
    name: str,
    *,
    adam_rate: float = 1e-5,
    descent_rate: float = 1e-5,
    descent_max_norm: float | None = None,
    tolerance: float = 2e-5,
    keypoints_weight: float = KEYPOINTS_WEIGHT,
) -> Schedule:
    """The schedule called `name`, at these rates; ValueError for an unknown name.

    `descent_rate` and `descent_max_norm` are those of the gradient-descent step, if it has one.
    `keypoints_weight` is the objective's, which `release` divides out.
    """
    inner_step = GradientDescent(descent_rate, descent_max_norm)
    if name == "paper":
        return paper_schedule(adam_rate=adam_rate, tolerance=tolerance)
    if name == "trained":
        return trained_schedule(inner_step, adam_rate=adam_rate, tolerance=tolerance)
    if name == "release":
        return release_schedule(
            inner_step,
            adam_rate=adam_rate,
            tolerance=tolerance,
            keypoints_weight=keypoints_weight,
        )
    if name == "eft":
        return eft_schedule(adam_rate=adam_rate, tolerance=tolerance)
    raise ValueError(f"unknown schedule {name!r}; known are {', '.join(SCHEDULE_NAMES)}")
