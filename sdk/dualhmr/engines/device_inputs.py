"""Arrays of the host and of other libraries, in PyTorch's memory on a device."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from dualhmr.engines.frozen_network import DLPackArray, TensorSpec

_ALIGNMENT = 256
"""Bytes between which arrays begin, so that kernels may use the widest loads."""


def as_tensor(array: DLPackArray, device: str) -> Tensor:
    """The array as a tensor on `device`; shares memory where it can."""
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()  # PyTorch has no read-only tensors
    tensor = array if isinstance(array, Tensor) else from_dlpack(array)
    return tensor.to(device)


class DeviceInputs:
    """Named arrays of N persons in memory that stays where it is, filled by one copy."""

    def __init__(self, persons: int, specs: Sequence[TensorSpec], device: torch.device) -> None:
        """Zeros."""
        self._persons, self._device = persons, device
        size = _cut(persons, specs)[1]
        self._host = torch.zeros(size, dtype=torch.uint8)
        if device.type == "cuda":
            self._host = self._host.pin_memory()
        self._memory = torch.zeros(size, dtype=torch.uint8, device=device)
        self._arrays = {name: part.numpy() for name, part in self._named(self._host, specs).items()}
        self.tensors = self._named(self._memory, specs)
        """(N, ...) on the device, by name."""

    def _named(self, memory: Tensor, specs: Sequence[TensorSpec]) -> dict[str, Tensor]:
        return {
            spec.name: memory[place]
            .view(getattr(torch, spec.dtype.name))
            .unflatten(0, (self._persons, *spec.shape))
            for spec, place in zip(specs, _cut(self._persons, specs)[0], strict=True)
        }

    def fill(self, people: Sequence[Mapping[str, Any]]) -> None:
        """Writes arrays (n, ...) by name, those of `people` one below the other.

        Places that are left over hold the first of `people`, then of one person, again. Arrays that
        are on the device already, as a network left them there, are copied there. It returns before
        the copy is done, and must not be called again before that.
        """
        on_device = {}
        for name, array in self._arrays.items():
            blocks = [person[name] for person in people]
            blocks += [blocks[0]] * (self._persons - sum(map(len, blocks)))
            if all(map(_on_host, blocks)):
                np.concatenate(blocks, out=array)
            else:
                on_device[name] = blocks
        self._memory.copy_(self._host, non_blocking=True)
        for name, blocks in on_device.items():
            tensors = [as_tensor(block, str(self._device)) for block in blocks]
            self.tensors[name].copy_(tensors[0] if len(tensors) == 1 else torch.cat(tensors))


def _cut(persons: int, specs: Sequence[TensorSpec]) -> tuple[list[slice], int]:
    """Which bytes each array takes, and how many they are in all."""
    places, end = [], 0
    for spec in specs:
        size = persons * math.prod(spec.shape) * spec.dtype.itemsize
        places.append(slice(end, end + size))
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places, end


def _on_host(array: Any) -> bool:
    return isinstance(array, np.ndarray) or (
        isinstance(array, Tensor) and array.device.type == "cpu"
    )
