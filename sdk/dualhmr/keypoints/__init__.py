"""2D keypoints: named sets, users' arrays and files."""

from dualhmr.keypoints.files import MIN_PERSON_SCORE as MIN_PERSON_SCORE
from dualhmr.keypoints.files import KeypointFile as KeypointFile
from dualhmr.keypoints.files import keypoint_file_for as keypoint_file_for
from dualhmr.keypoints.files import open_keypoint_file as open_keypoint_file
from dualhmr.keypoints.files import read_keypoints as read_keypoints
from dualhmr.keypoints.keypoints import MIN_CONFIDENCE as MIN_CONFIDENCE
from dualhmr.keypoints.keypoints import Keypoints as Keypoints
from dualhmr.keypoints.keypoints import as_keypoints as as_keypoints
from dualhmr.keypoints.sets import BODY_23 as BODY_23
from dualhmr.keypoints.sets import BODY_25 as BODY_25
from dualhmr.keypoints.sets import COCO_17 as COCO_17
from dualhmr.keypoints.sets import COCO_WHOLEBODY_133 as COCO_WHOLEBODY_133
from dualhmr.keypoints.sets import HALPE_26 as HALPE_26
from dualhmr.keypoints.sets import HALPE_136 as HALPE_136
from dualhmr.keypoints.sets import KEYPOINT_SETS as KEYPOINT_SETS
from dualhmr.keypoints.sets import NAMED_SETS as NAMED_SETS
from dualhmr.keypoints.sets import SPIN_24 as SPIN_24
from dualhmr.keypoints.sets import SPIN_49 as SPIN_49
from dualhmr.keypoints.sets import KeypointSet as KeypointSet
from dualhmr.keypoints.sets import NetworkKeypoints as NetworkKeypoints
from dualhmr.keypoints.sets import keypoint_set as keypoint_set
from dualhmr.keypoints.sets import keypoint_set_for_count as keypoint_set_for_count
from dualhmr.keypoints.sets import known_names as known_names
from dualhmr.keypoints.sets import network_keypoints as network_keypoints
