"""Backbones and the regressor head, in PyTorch."""

from dualhmr.networks.backbones import Backbone as Backbone
from dualhmr.networks.backbones import KeypointTrunk as KeypointTrunk
from dualhmr.networks.head import HeadOutput as HeadOutput
from dualhmr.networks.head import MeanParams as MeanParams
from dualhmr.networks.head import RegressorHead as RegressorHead
from dualhmr.networks.head import affine_head as affine_head
from dualhmr.networks.head import as_output as as_output
from dualhmr.networks.head import read_mean_params as read_mean_params
from dualhmr.networks.hmr2 import HMR2Features as HMR2Features
from dualhmr.networks.hrnet import HRNetW48Classification as HRNetW48Classification
from dualhmr.networks.hrnet import HRNetW48Concatenated as HRNetW48Concatenated
from dualhmr.networks.landmark_trunk import LandmarkTrunk as LandmarkTrunk
from dualhmr.networks.regressor import BACKBONES as BACKBONES
from dualhmr.networks.regressor import ImageNormaliser as ImageNormaliser
from dualhmr.networks.regressor import MeshRegressor as MeshRegressor
from dualhmr.networks.regressor import build_backbone as build_backbone
from dualhmr.networks.regressor import checkpoint_names as checkpoint_names
from dualhmr.networks.regressor import checkpoint_state as checkpoint_state
from dualhmr.networks.regressor import load_checkpoint_state as load_checkpoint_state
from dualhmr.networks.resnet import ResNet50 as ResNet50
