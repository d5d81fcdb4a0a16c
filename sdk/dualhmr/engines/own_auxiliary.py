"""A user's own source of the pseudo mesh in place of a bundle's auxiliary network."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import shown
from dualhmr.arrays import to_numpy
from dualhmr.body.parameters import SMPLParameters
from dualhmr.bundle import Bundle
from dualhmr.engines.checked_network import CheckedNetwork, network_inputs_of, pseudo_mesh_outputs
from dualhmr.engines.frozen_network import Arrays, EngineOptions
from dualhmr.engines.onnxruntime_network import OnnxRuntimeNetwork

Auxiliary: TypeAlias = Callable[[npt.NDArray[np.uint8]], SMPLParameters]
"""From one person's crop (256, 192, 3) uint8 RGB, made as the bundle's crops are, to a body in the
camera frame, with as many betas as the bundle's body has."""


class CallableAuxiliary:
    """A `FrozenNetwork` that calls a user's function, one person and one thread at a time."""

    reads = ("image",)

    def __init__(self, function: Auxiliary, *, beta_count: int) -> None:
        self._function, self._beta_count = function, beta_count
        self._turn = Lock()
        self.runs_on = getattr(function, "__qualname__", type(function).__qualname__)

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """The crops `image` (N, 256, 192, 3) to rotations (N, 24, 3, 3) and betas (N, B).

        Raises TypeError for another result than `SMPLParameters`, ValueError for another number of
        betas, and whatever the function raises.
        """
        with self._turn:
            bodies = [self._function(crop.copy()) for crop in inputs["image"]]
        for body in bodies:
            check_pseudo_mesh(body, self._beta_count, name=f"auxiliary {self.runs_on}")
        return {
            "rotations": np.stack([body.rotations for body in bodies]),
            "betas": np.stack([body.betas for body in bodies]),
        }


class OnnxAuxiliary(CheckedNetwork):
    """A `FrozenNetwork` of a user's ONNX file, whose results are checked to be bodies."""

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name to rotations (N, 24, 3, 3) and betas (N, 10).

        Raises ValueError, naming the file, for matrices that are no rotations.
        """
        results = super().__call__(inputs)
        rotations, betas = (to_numpy(results[name]) for name in ("rotations", "betas"))
        try:
            for person in range(len(rotations)):
                SMPLParameters(rotations[person], betas[person])
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from error
        return {"rotations": rotations, "betas": betas}


def open_auxiliary(
    auxiliary: "str | os.PathLike[str] | Auxiliary",
    bundle: Bundle,
    *,
    beta_count: int,
    device: str,
    options: EngineOptions,
) -> CallableAuxiliary | OnnxAuxiliary:
    """Opens what a user passes as `auxiliary=`: a function, or the path of an ONNX file.

    The file reads some of a bundle's inputs and gives `rotations` (N, 24, 3, 3) and `betas`
    (N, 10), all float32, N open; ONNX Runtime runs it, whatever runs the bundle.

    Raises TypeError for anything else, FileNotFoundError, ImportError without ONNX Runtime,
    ValueError for a file that is damaged or has other inputs or outputs.
    """
    if callable(auxiliary):
        return CallableAuxiliary(auxiliary, beta_count=beta_count)
    if not isinstance(auxiliary, str | os.PathLike):
        raise TypeError(
            f"auxiliary is {shown(auxiliary)} of type {type(auxiliary).__name__}, expected a "
            "function from a crop to SMPLParameters, or the path of an ONNX file"
        )
    path = Path(auxiliary)
    network = OnnxRuntimeNetwork(path, device=device, options=options)
    return OnnxAuxiliary(
        network,
        path,
        inputs=network_inputs_of(bundle),
        outputs=pseudo_mesh_outputs(),
        advice="expected what auxiliary.onnx of a bundle reads and gives",
    )


def check_pseudo_mesh(value: object, beta_count: int, *, name: str) -> SMPLParameters:
    """`value`, where it is a body of that many betas; else TypeError or ValueError."""
    if not isinstance(value, SMPLParameters):
        raise TypeError(
            f"{name} is {shown(value)} of type {type(value).__name__}, expected SMPLParameters"
        )
    if len(value.betas) != beta_count:
        raise ValueError(
            f"{name} has {len(value.betas)} betas, but the bundle's body has {beta_count}"
        )
    return value
