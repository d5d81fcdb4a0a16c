"""Running frozen networks: TensorRT, ONNX Runtime, or PyTorch as the reference."""

from dualhmr.engines.frozen_network import PROVIDERS as PROVIDERS
from dualhmr.engines.frozen_network import DLPackArray as DLPackArray
from dualhmr.engines.frozen_network import EngineOptions as EngineOptions
from dualhmr.engines.frozen_network import FrozenNetwork as FrozenNetwork
from dualhmr.engines.onnxruntime_network import OnnxRuntimeNetwork as OnnxRuntimeNetwork
from dualhmr.engines.opening import AUTO as AUTO
from dualhmr.engines.opening import BACKENDS as BACKENDS
from dualhmr.engines.opening import FrozenNetworks as FrozenNetworks
from dualhmr.engines.opening import open_networks as open_networks
from dualhmr.engines.own_auxiliary import Auxiliary as Auxiliary
from dualhmr.engines.own_auxiliary import check_pseudo_mesh as check_pseudo_mesh
from dualhmr.engines.own_auxiliary import open_auxiliary as open_auxiliary
