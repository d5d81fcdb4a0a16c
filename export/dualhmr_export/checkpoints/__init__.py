"""Checkpoints to pairs of networks: releases of Meta-HMR, CLIFF and SPIN, and our own trainings.

A new format is a row of `FORMATS` in `releases.py`, and for new tensor names or backbones a row of
`LAYOUTS` in `architectures.py`. `CONTRIBUTING.md` lists all steps.
"""

from dualhmr_export.checkpoints.importing import Imported as Imported
from dualhmr_export.checkpoints.importing import import_checkpoint as import_checkpoint
