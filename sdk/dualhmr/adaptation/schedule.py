"""What to do at test time, as data: phases of losses, optimiser and steps, and when to stop."""

from dataclasses import dataclass, replace

from dualhmr.adaptation.optimisers import Adam, GradientDescent, Optimiser

# As in the Meta-HMR release.
_STEPS = 14

CONVERGED, OUT_OF_STEPS, NON_FINITE = "converged", "max_steps", "non_finite"
STOP_REASONS = (OUT_OF_STEPS, CONVERGED, NON_FINITE)
"""Why an adaptation ends; in the order of the numbers in a bundle's `adaptation.onnx`."""


class NonFiniteError(ValueError):
    """One person's loss, gradient or body is not finite, and no iterate can be returned."""


@dataclass(frozen=True)
class Phase:
    """Up to `steps` steps of one optimiser on the sum of some losses."""

    optimiser: Optimiser
    steps: int
    losses: tuple[str, ...] | None = None
    """Names of the losses in the sum; None is all that the objective has."""


@dataclass(frozen=True)
class Schedule:
    """Phases in order, at least one.

    The watched loss, which is reported and decides which iterate is best, is that of the last
    phase. The adaptation stops early once two consecutive watched losses within a phase differ by
    less than `tolerance`.
    """

    name: str
    phases: tuple[Phase, ...]
    tolerance: float

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError(f"schedule {self.name!r} has no phases, expected at least one")

    @property
    def max_steps(self) -> int:
        """The steps of all phases together."""
        return sum(phase.steps for phase in self.phases)

    @property
    def watched_losses(self) -> tuple[str, ...] | None:
        """Names of the losses whose sum is watched; None is all."""
        return self.phases[-1].losses

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
    inner_step: GradientDescent, *, adam_rate: float = 1e-5, tolerance: float = 2e-5
) -> Schedule:
    """The authors' code: one plain step of Eq. 9, then Adam on the 2D keypoints alone.

    The release adapts one set of parameters per batch, and the whole network from its second step
    on. Here every person has parameters of their own, and `scope` says which ones are adapted.
    """
    keypoints_only = Phase(Adam(adam_rate), _STEPS - 1, losses=("keypoints_2d",))
    return Schedule("release", (Phase(inner_step, 1), keypoints_only), tolerance)


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
) -> Schedule:
    """The schedule called `name`, at these rates; ValueError for an unknown name.

    `descent_rate` and `descent_max_norm` are those of the gradient-descent step, if it has one.
    """
    inner_step = GradientDescent(descent_rate, descent_max_norm)
    if name == "paper":
        return paper_schedule(adam_rate=adam_rate, tolerance=tolerance)
    if name == "trained":
        return trained_schedule(inner_step, adam_rate=adam_rate, tolerance=tolerance)
    if name == "release":
        return release_schedule(inner_step, adam_rate=adam_rate, tolerance=tolerance)
    if name == "eft":
        return eft_schedule(adam_rate=adam_rate, tolerance=tolerance)
    raise ValueError(f"unknown schedule {name!r}; known are {', '.join(SCHEDULE_NAMES)}")
