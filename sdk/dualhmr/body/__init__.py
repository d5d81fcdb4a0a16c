"""Bodies in PyTorch: linear blend skinning, named points."""

from dualhmr.body.model import Body as Body
from dualhmr.body.model import fitting_body as fitting_body
from dualhmr.body.model import load_body as load_body
from dualhmr.body.points import BodyPoints as BodyPoints
from dualhmr.body.points import PointRegressor as PointRegressor
from dualhmr.body.regressors import keypoint_regressor as keypoint_regressor
from dualhmr.body.regressors import skeleton_regressor as skeleton_regressor
from dualhmr.body.skinning import Pose as Pose
from dualhmr.body.skinning import Posed as Posed
from dualhmr.body.skinning import pose_skeleton as pose_skeleton
from dualhmr.body.skinning import rest_joints as rest_joints
from dualhmr.body.skinning import skin as skin
from dualhmr.body.skinning import skin_vertices as skin_vertices
from dualhmr.body_files import FREE_BODY as FREE_BODY
from dualhmr.body_files import JOINT_COUNT as JOINT_COUNT
from dualhmr.body_files import JOINT_NAMES as JOINT_NAMES
