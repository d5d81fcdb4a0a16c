"""Running frozen networks: ONNX Runtime, or PyTorch as the reference."""

from dualhmr.engines.opening import ENGINES as ENGINES
from dualhmr.engines.opening import FrozenNetworks as FrozenNetworks
from dualhmr.engines.opening import open_engine as open_engine
from dualhmr.engines.opening import torch_auxiliary_network as torch_auxiliary_network
from dualhmr.engines.opening import torch_head as torch_head
from dualhmr.engines.opening import torch_main_network as torch_main_network
from dualhmr.engines.protocol import FrozenNetwork as FrozenNetwork
