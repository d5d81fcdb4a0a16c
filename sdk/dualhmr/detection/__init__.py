"""People and their keypoints from pixels: the default detector, and adapters to others."""

from dualhmr.detection.adapters import DEFAULT_DETECTOR as DEFAULT_DETECTOR
from dualhmr.detection.adapters import NamedDetector as NamedDetector
from dualhmr.detection.adapters import open_detector as open_detector
from dualhmr.detection.detections import AnyDetector as AnyDetector
from dualhmr.detection.detections import Detections as Detections
from dualhmr.detection.detections import Detector as Detector
from dualhmr.detection.detections import write_coco as write_coco
from dualhmr.detection.movenet import MovenetDetector as MovenetDetector
from dualhmr.detection.movenet import MovenetOptions as MovenetOptions
