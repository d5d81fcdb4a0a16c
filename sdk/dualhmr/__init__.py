"""Human mesh recovery with test-time optimisation of the regressor head.

>>> import dualhmr
>>> recovery = dualhmr.recover("photo.jpg")
>>> recovery.save("bodies.glb")
"""

import importlib
from typing import TYPE_CHECKING, Any

from dualhmr.arrays import check_torch as _check_torch
from dualhmr.body.parameter_files import read_smpl_parameters as read_smpl_parameters
from dualhmr.body.parameters import SMPLParameters as SMPLParameters
from dualhmr.boxes import Box as Box
from dualhmr.bundle import Bundle as Bundle
from dualhmr.bundle import open_bundle as open_bundle
from dualhmr.detection import Detections as Detections
from dualhmr.detection import MovenetDetector as MovenetDetector
from dualhmr.detection import MovenetOptions as MovenetOptions
from dualhmr.detection import open_detector as open_detector
from dualhmr.engines import EngineOptions as EngineOptions
from dualhmr.jobs import JobOptions as JobOptions
from dualhmr.jobs import run_job as run_job
from dualhmr.keypoints import KEYPOINT_SETS as KEYPOINT_SETS
from dualhmr.keypoints import Keypoints as Keypoints
from dualhmr.keypoints import KeypointSet as KeypointSet
from dualhmr.keypoints import read_keypoints as read_keypoints
from dualhmr.motion import LiveSmoother as LiveSmoother
from dualhmr.motion import Motion as Motion
from dualhmr.motion import SmoothingOptions as SmoothingOptions
from dualhmr.motion import smooth as smooth
from dualhmr.recoverer import FailedPhoto as FailedPhoto
from dualhmr.recoverer import Photo as Photo
from dualhmr.recoverer import Prediction as Prediction
from dualhmr.recoverer import Recoverer as Recoverer
from dualhmr.recoverer import recover as recover
from dualhmr.recovery import Recovery as Recovery
from dualhmr.video import TrackingOptions as TrackingOptions
from dualhmr.video import VideoRecoverer as VideoRecoverer
from dualhmr.video import VideoRecovery as VideoRecovery
from dualhmr.video import WarmOptions as WarmOptions
from dualhmr.video import recover_video as recover_video

# The build backend reads this line, so an editable install always reports the checked-out version.
__version__ = "0.1.0"

if TYPE_CHECKING:
    from dualhmr.body.model import Body as Body
    from dualhmr.body.model import load_body as load_body


def __getattr__(name: str) -> Any:
    """Imports what needs PyTorch on first use: `import dualhmr` works without it."""
    if name not in ("Body", "load_body"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_torch(f"{__name__}.{name}")
    return getattr(importlib.import_module("dualhmr.body.model"), name)
