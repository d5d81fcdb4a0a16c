"""Test-time adaptation: the step, and running the schedules. Tensors, not humans."""

from dualhmr.adaptation.adapt import Adaptation as Adaptation
from dualhmr.adaptation.adapt import adapt as adapt
from dualhmr.adaptation.course import Course as Course
from dualhmr.adaptation.step import LossFunction as LossFunction
from dualhmr.adaptation.step import Step as Step
from dualhmr.adaptation.step import adaptation_step as adaptation_step
from dualhmr.schedules import CONVERGED as CONVERGED
from dualhmr.schedules import NON_FINITE as NON_FINITE
from dualhmr.schedules import OUT_OF_STEPS as OUT_OF_STEPS
from dualhmr.schedules import SCHEDULE_NAMES as SCHEDULE_NAMES
from dualhmr.schedules import Adam as Adam
from dualhmr.schedules import GradientDescent as GradientDescent
from dualhmr.schedules import Optimiser as Optimiser
from dualhmr.schedules import Parameters as Parameters
from dualhmr.schedules import Phase as Phase
from dualhmr.schedules import Schedule as Schedule
from dualhmr.schedules import named_schedule as named_schedule
