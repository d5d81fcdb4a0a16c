"""Frozen networks in PyTorch: the reference that every other engine is held to."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from dualhmr.engines.protocol import Arrays
from dualhmr.engines.torch_arrays import as_tensor


class TorchNetwork:
    """A PyTorch module with named inputs and outputs."""

    def __init__(
        self, module: nn.Module, reads: tuple[str, ...], outputs: tuple[str, ...], *, device: str
    ) -> None:
        """Moves `module` to `device` and puts it into evaluation mode."""
        self._module = module.eval().requires_grad_(False).to(device)
        self._outputs = outputs
        self._device = device
        self.reads = reads

    @property
    def runs_on(self) -> str:
        """Engine, version and device."""
        return f"torch {torch.__version__} {self._device}"

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name to outputs by name."""
        results = self._module(*(as_tensor(inputs[name], self._device) for name in self.reads))
        results = results if isinstance(results, tuple) else (results,)
        return dict(zip(self._outputs, results, strict=True))
