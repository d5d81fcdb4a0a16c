"""Schedules of test-time adaptation, as data: phases, optimisers, steps and when to stop."""

from dualhmr.schedules.optimisers import Adam as Adam
from dualhmr.schedules.optimisers import GradientDescent as GradientDescent
from dualhmr.schedules.optimisers import Optimiser as Optimiser
from dualhmr.schedules.optimisers import Parameters as Parameters
from dualhmr.schedules.schedule import CONVERGED as CONVERGED
from dualhmr.schedules.schedule import NON_FINITE as NON_FINITE
from dualhmr.schedules.schedule import OUT_OF_STEPS as OUT_OF_STEPS
from dualhmr.schedules.schedule import SCHEDULE_NAMES as SCHEDULE_NAMES
from dualhmr.schedules.schedule import Phase as Phase
from dualhmr.schedules.schedule import Schedule as Schedule
from dualhmr.schedules.schedule import named_schedule as named_schedule
