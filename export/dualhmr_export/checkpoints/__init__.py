"""Importers: checkpoints of the paper's release, of CLIFF, of SPIN, and of our own training."""

from dualhmr_export.checkpoints.importing import Imported as Imported
from dualhmr_export.checkpoints.importing import import_checkpoint as import_checkpoint
from dualhmr_export.checkpoints.reading import read_checkpoint as read_checkpoint
