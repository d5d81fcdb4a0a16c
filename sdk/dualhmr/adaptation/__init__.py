"""Test-time adaptation: the step, its optimisers, schedules and stopping. Tensors, not humans."""

from dualhmr.adaptation.adapt import Adaptation as Adaptation
from dualhmr.adaptation.adapt import adapt as adapt
from dualhmr.adaptation.course import CONVERGED as CONVERGED
from dualhmr.adaptation.course import NON_FINITE as NON_FINITE
from dualhmr.adaptation.course import OUT_OF_STEPS as OUT_OF_STEPS
from dualhmr.adaptation.course import Course as Course
from dualhmr.adaptation.optimisers import Adam as Adam
from dualhmr.adaptation.optimisers import GradientDescent as GradientDescent
from dualhmr.adaptation.optimisers import Optimiser as Optimiser
from dualhmr.adaptation.optimisers import Parameters as Parameters
from dualhmr.adaptation.schedule import SCHEDULE_NAMES as SCHEDULE_NAMES
from dualhmr.adaptation.schedule import Phase as Phase
from dualhmr.adaptation.schedule import Schedule as Schedule
from dualhmr.adaptation.schedule import named_schedule as named_schedule
from dualhmr.adaptation.step import LossFunction as LossFunction
from dualhmr.adaptation.step import Step as Step
from dualhmr.adaptation.step import adaptation_step as adaptation_step
