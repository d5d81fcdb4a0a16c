"""Checkpoints to pairs of networks: releases of Meta-HMR, CLIFF and SPIN, and our own trainings.

`importing.py` makes the pair, `releases.py` lists the file formats, `architectures.py` the networks
that files hold. To add a file format:

1. If its backbone or its tensor names are new, add a row to `LAYOUTS` in `architectures.py` (and a
   new backbone to `dualhmr.networks.BACKBONES`).
2. Write a function from `ReleaseFile` to `Contents` and add a row to `FORMATS` in `releases.py`.
3. Write such a file with random weights in `tests/helpers/release_checkpoints.py`, and import it in
   `tests/export/checkpoints/test_releases.py`.
4. Add it to the table in `docs/export.md`.
"""

from dualhmr_export.checkpoints.importing import Imported as Imported
from dualhmr_export.checkpoints.importing import import_checkpoint as import_checkpoint
