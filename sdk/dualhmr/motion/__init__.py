"""One person over time: the motion itself, smoothing, feet on the ground, and motion files."""

from dualhmr.motion.feet import ContactOptions as ContactOptions
from dualhmr.motion.feet import FootContacts as FootContacts
from dualhmr.motion.feet import foot_contacts as foot_contacts
from dualhmr.motion.feet import lock_feet as lock_feet
from dualhmr.motion.feet import sliding_mm as sliding_mm
from dualhmr.motion.motion import MOTION_SUFFIXES as MOTION_SUFFIXES
from dualhmr.motion.motion import Motion as Motion
from dualhmr.motion.smoothing import LiveSmoother as LiveSmoother
from dualhmr.motion.smoothing import SmoothingOptions as SmoothingOptions
from dualhmr.motion.smoothing import smooth as smooth
