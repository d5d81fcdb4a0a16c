"""Running frozen networks: TensorRT, ONNX Runtime, or PyTorch as the reference."""

from dualhmr.engines.choosing import AUTO as AUTO
from dualhmr.engines.choosing import BACKENDS as BACKENDS
from dualhmr.engines.choosing import open_networks as open_networks
from dualhmr.engines.onnxruntime_engine import OnnxRuntimeNetwork as OnnxRuntimeNetwork
from dualhmr.engines.opening import FrozenNetworks as FrozenNetworks
from dualhmr.engines.options import EngineOptions as EngineOptions
from dualhmr.engines.protocol import DLPackArray as DLPackArray
from dualhmr.engines.protocol import FrozenNetwork as FrozenNetwork
from dualhmr.engines.providers import PROVIDERS as PROVIDERS
