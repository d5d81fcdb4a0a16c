from typing import Any

import numpy as np
import torch

from dualhmr.engines.torch_networks import as_tensor


class OnlyDLPack:
    """An array of a library that is not known here."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def test_memory_is_shared_not_copied() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    array = tensor.numpy()
    for each in (tensor, array, OnlyDLPack(tensor)):
        taken = as_tensor(each, "cpu")
        assert taken.data_ptr() == tensor.data_ptr()
        torch.testing.assert_close(taken, tensor)


def test_bytes_too() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    assert as_tensor(image, "cpu").dtype == torch.uint8


def test_what_must_not_be_written_is_copied() -> None:
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    as_tensor(array, "cpu").add_(1)
    assert (array == 0).all()
