"""Adapting the networks to one person: in PyTorch, or without it by a bundle's ONNX graph."""

from dualhmr.person_fitting.person_fitter import ADAPTATIONS as ADAPTATIONS
from dualhmr.person_fitting.person_fitter import PersonFitter as PersonFitter
from dualhmr.person_fitting.person_fitter import PosingFitter as PosingFitter
from dualhmr.person_fitting.person_fitter import WarmFitter as WarmFitter
from dualhmr.person_fitting.person_fitter import choose_adaptation as choose_adaptation
from dualhmr.person_fitting.person_fitter import open_person_fitter as open_person_fitter
