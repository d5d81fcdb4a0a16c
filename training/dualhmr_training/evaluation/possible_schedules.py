"""Whether networks can be adapted as a schedule says."""

from collections.abc import Sequence

from dualhmr.adaptation import Schedule
from dualhmr.loss_weights import LossWeights
from dualhmr.objective import WITHOUT_TARGET
from dualhmr_training.opened import Networks


def check_schedules(
    networks: Networks, weights: LossWeights, schedules: Sequence[Schedule]
) -> None:
    """Raises ValueError for a schedule that needs a pseudo mesh which nobody makes."""
    if networks.auxiliary is not None:
        return
    weighted = {name for name, weight in vars(weights).items() if weight}
    for schedule in schedules:
        used = [weighted if phase.losses is None else phase.losses for phase in schedule.phases]
        if set().union(*used) - WITHOUT_TARGET:
            raise ValueError(
                f"schedule {schedule.name!r} needs a pseudo mesh, and {networks.source} has no "
                "auxiliary network; use --schedule eft"
            )
