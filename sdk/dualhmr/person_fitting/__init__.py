"""Adapting the head to one person: by PyTorch, or by a bundle's graph without it."""

from dualhmr.person_fitting.opening import ADAPTATIONS as ADAPTATIONS
from dualhmr.person_fitting.opening import Adapter as Adapter
from dualhmr.person_fitting.opening import choose_adaptation as choose_adaptation
from dualhmr.person_fitting.opening import open_person_fitter as open_person_fitter
