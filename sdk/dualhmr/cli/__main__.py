"""`python -m dualhmr.cli` and `torchrun -m dualhmr.cli`: the command `dualhmr`."""

import sys

from dualhmr.cli import main

sys.exit(main())
