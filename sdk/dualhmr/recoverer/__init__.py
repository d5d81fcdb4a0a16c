"""`Recoverer` and `recover`: a photograph and its persons' 2D keypoints -> `Recovery`."""

from dualhmr.recoverer.photo import Photo as Photo
from dualhmr.recoverer.prediction import Prediction as Prediction
from dualhmr.recoverer.recover_function import recover as recover
from dualhmr.recoverer.recoverer import Recoverer as Recoverer
from dualhmr.recoverer.recoverer_options import RecovererOptions as RecovererOptions
from dualhmr.recoverer.streaming import FailedPhoto as FailedPhoto
