"""What the command line of `dualhmr evaluate` offers by name.

Apart from the modules that do it, since every subcommand of `dualhmr` loads the choices of all.
"""

from collections.abc import Mapping

from dualhmr.keypoints import BODY_25, SPIN_24, KeypointSet
from dualhmr_training.evaluation.protocols import EVALUATION_PROTOCOLS

SYNTHETIC = "synthetic"
DATA = (SYNTHETIC, *EVALUATION_PROTOCOLS)

KEYPOINTS: Mapping[str, tuple[KeypointSet, slice]] = {
    "annotated": (SPIN_24, slice(len(BODY_25), None)),
    "openpose": (BODY_25, slice(0, len(BODY_25))),
}
"""Which of the 49 keypoints of a licensed data set's sample are given."""
