"""What networks give back, as tensors: arrays of whatever library, taken over through DLPack."""

import numpy as np
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from dualhmr.engines.protocol import DLPackArray


def as_tensor(array: DLPackArray, device: str) -> Tensor:
    """The array as a tensor on `device`; shares memory where it can."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()  # PyTorch knows no memory that must not be written
    tensor = array if isinstance(array, Tensor) else from_dlpack(array)
    return tensor.to(device)
