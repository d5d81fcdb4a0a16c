"""Build the landmark network's weights: `python -m scripts.landmark_network.build WHEEL`.

WHEEL is what `pip download --no-deps mediapipe==0.10.21` downloads, for any platform. Run from the
repository's root. Takes seconds, and writes the same bytes every time.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path

import torch
from scripts.landmark_network.tflite_graph import TfliteGraph, operators_before, read_graph
from torch import Tensor

from dualhmr.networks.landmark_network import LandmarkNetwork
from dualhmr.weights import save_tensors

ASSET = Path("sdk/dualhmr/assets/blazepose/landmarks.safetensors")
MODEL = "mediapipe/modules/pose_landmark/pose_landmark_full.tflite"
SHA256 = "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
# Outputs 2 and 3 are the mask and the heat maps.
_POINTS, _PRESENT, _WORLD = 0, 1, 4


def main() -> None:
    """Write the weights, and print their size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--output", type=Path, default=ASSET)
    arguments = parser.parse_args()
    content = zipfile.ZipFile(arguments.wheel).read(MODEL)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{MODEL} in {arguments.wheel} is another than that of version 0.10.21")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(landmark_weights(read_graph(content)), arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB")


def landmark_weights(graph: TfliteGraph) -> dict[str, Tensor]:
    """The constants of convolutions under the names that `LandmarkNetwork` has for them.

    Both have them in the order in which they run, points, world and present last. Raises ValueError
    where one of them has another shape.
    """
    heads = [graph.outputs[index] for index in (_POINTS, _WORLD, _PRESENT)]
    # Each head's own convolution is the last that it depends on.
    ends = [_convolutions(graph, {head})[-1] for head in heads]
    trunk = [each for each in _convolutions(graph, set(heads)) if each not in ends]
    names = [name for name, _ in LandmarkNetwork().named_buffers()]
    shapes = {name: buffer.shape for name, buffer in LandmarkNetwork().named_buffers()}
    found = [tensor for convolution in (*trunk, *ends) for tensor in convolution]
    if len(found) != len(names):
        raise ValueError(f"the graph has {len(found)} constants, expected {len(names)}")
    weights = {}
    for name, number in zip(names, found, strict=True):
        values = torch.from_numpy(graph.constants[number].copy())
        if values.ndim == 4:
            # (out, height, width, in), or (1, height, width, channels) of a filter a channel.
            depthwise = shapes[name][1] == 1
            values = values.permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        if values.shape != shapes[name]:
            raise ValueError(f"{name} is {tuple(values.shape)}, expected {tuple(shapes[name])}")
        weights[name] = values.contiguous()
    return weights


def _convolutions(graph: TfliteGraph, tensors: set[int]) -> list[tuple[int, int]]:
    """The weight and the bias of each convolution that `tensors` depend on."""
    return [
        (operator.inputs[1], operator.inputs[2])
        for operator in operators_before(graph, tensors)
        if operator.kind in ("conv", "depthwise")
    ]


if __name__ == "__main__":
    main()
