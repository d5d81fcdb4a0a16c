"""Holds a bundle's frozen networks to what they have to read and return, whichever engine runs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from dualhmr.bundle import Bundle
from dualhmr.engines.frozen_network import Arrays, FrozenNetwork, TensorSpec
from dualhmr.keypoints import network_keypoints
from dualhmr.untrusted import one_value_error

_HEAD = "head.safetensors"
# What the head reads beside features and box info: its own estimate of rotations in six numbers
# each, betas and camera.
_ESTIMATE_COUNT, _BOX_INFO_COUNT = 24 * 6 + 10 + 3, 3
_F32 = np.dtype(np.float32)


class CheckedNetwork:
    """A frozen network; results of other names or shapes, or that are not finite, are errors."""

    def __init__(
        self,
        network: FrozenNetwork,
        path: Path,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        advice: str = "export the bundle again",
    ) -> None:
        """`path`: the file that the network is from. It may read any of `inputs`.

        `advice` ends the errors.

        Raises ValueError for an engine that describes other inputs or outputs.
        """
        self._network, self._path, self._outputs = network, path, outputs
        self._advice = advice
        readable = [spec.name for spec in inputs]
        unknown = [name for name in network.reads if name not in readable]
        if unknown:
            raise self._error(f"reads {', '.join(unknown)}, but networks read {readable}")
        self._compare("reads", getattr(network, "inputs", ()), inputs)
        described = getattr(network, "outputs", outputs)
        missing = {spec.name for spec in outputs} - {spec.name for spec in described}
        if missing:
            raise self._error(f"lacks the outputs {', '.join(sorted(missing))}")
        self._compare("gives", described, outputs)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return self._network.reads

    @property
    def runs_on(self) -> str:
        """The engine and the device in use, for people to read."""
        return self._network.runs_on

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Inputs by name, persons first, to outputs by name.

        Raises ValueError for a result that is not finite or of another shape, and what the engine
        raises.
        """
        results = self._network(inputs)
        for spec in self._outputs:
            result: Any = results.get(spec.name)
            if result is None or tuple(result.shape[1:]) != spec.shape:
                shape = None if result is None else tuple(result.shape)
                raise self._error(f"gives {spec.name} of shape {shape}, expected {spec}")
            # Not isfinite, which every library spells as a function of its own.
            if not bool((abs(result) < math.inf).all()):
                raise self._error(f"gives {spec.name} that are not finite numbers")
        return results

    def _compare(
        self, verb: str, described: tuple[TensorSpec, ...], expected: tuple[TensorSpec, ...]
    ) -> None:
        by_name = {spec.name: spec for spec in expected}
        for spec in described:
            if spec != by_name.get(spec.name, spec):
                raise self._error(f"{verb} {spec}, expected {by_name[spec.name]}")

    def _error(self, problem: str) -> ValueError:
        return ValueError(f"{self._path} {problem}; {self._advice}")


def checked_pair(
    bundle: Bundle, backbone: FrozenNetwork, auxiliary: FrozenNetwork, *, suffix: str
) -> tuple[CheckedNetwork, CheckedNetwork]:
    """Both networks of a bundle, from its files of that suffix, with its checks."""
    inputs, pseudo_mesh = network_inputs_of(bundle), pseudo_mesh_outputs()
    features = (TensorSpec("features", _F32, (feature_count(bundle),)),)
    folder = bundle.folder
    readable = (*inputs, *features) if bundle.manifest.shared_backbone else inputs
    return (
        CheckedNetwork(backbone, folder / f"backbone{suffix}", inputs=inputs, outputs=features),
        CheckedNetwork(
            auxiliary, folder / f"auxiliary{suffix}", inputs=readable, outputs=pseudo_mesh
        ),
    )


def network_inputs_of(bundle: Bundle) -> tuple[TensorSpec, ...]:
    """What networks may read, for persons that the bundle's networks read too."""
    keypoints = len(network_keypoints(bundle.manifest.keypoint_set).set)
    return (
        TensorSpec("image", np.dtype(np.uint8), (*bundle.manifest.image_size, 3)),
        TensorSpec("keypoints", _F32, (keypoints, 3)),
        TensorSpec("box_info", _F32, (_BOX_INFO_COUNT,)),
    )


def pseudo_mesh_outputs() -> tuple[TensorSpec, ...]:
    """What auxiliary networks give; more is ignored."""
    return TensorSpec("rotations", _F32, (24, 3, 3)), TensorSpec("betas", _F32, (10,))


def feature_count(bundle: Bundle) -> int:
    """How many features the head reads, by the size of the layer that reads them.

    Raises ValueError for a file that is damaged or no head.
    """
    path = bundle.path(_HEAD)
    with (
        one_value_error(path, "damaged, or not the weights of a head"),
        safetensors.safe_open(path, framework="numpy") as weights,
    ):
        spec = bundle.manifest.main
        first = "fc1.weight" if spec.hidden else "decpose.weight"
        _, width = weights.get_slice(first).get_shape()
        count = width - _BOX_INFO_COUNT * spec.head_reads_box_info
        count -= _ESTIMATE_COUNT if spec.hidden else 0
        if count < 1:
            raise ValueError(f"its first layer reads {width} numbers")
        return int(count)
