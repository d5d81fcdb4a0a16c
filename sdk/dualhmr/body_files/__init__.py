"""Body files -> NumPy arrays: the only reader of them, and posing without PyTorch."""

from dualhmr.body_files.arrays import JOINT_COUNT as JOINT_COUNT
from dualhmr.body_files.arrays import JOINT_NAMES as JOINT_NAMES
from dualhmr.body_files.arrays import BodyArrays as BodyArrays
from dualhmr.body_files.arrays import BodyParts as BodyParts
from dualhmr.body_files.files import FREE_BODY as FREE_BODY
from dualhmr.body_files.files import read_body as read_body
from dualhmr.body_files.fitting import check_fits as check_fits
from dualhmr.body_files.fitting import fitting_arrays as fitting_arrays
from dualhmr.body_files.posing import pose_arrays as pose_arrays
