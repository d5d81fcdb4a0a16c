"""The landmark network in PyTorch against the TensorFlow Lite interpreter, recorded."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from dualhmr.bundle import open_bundle
from dualhmr.networks.landmark_network import (
    INPUT_SIZE,
    LandmarkNetwork,
    LandmarkPrediction,
    read_landmark_weights,
)
from dualhmr.weights import save_tensors

# What ai-edge-litert 1.4.0 computes from pose_landmark_full.tflite for `waves` of each number.
_RECORDED = Path(__file__).with_name("landmark_network_golden.json")
GOLDEN = dict(zip((2, 5), json.loads(_RECORDED.read_text()), strict=True))


def waves(number: int) -> Tensor:
    """A picture (1, 3, 256, 256) of whole 255ths."""
    y, x = np.mgrid[0:INPUT_SIZE, 0:INPUT_SIZE]
    channels = [
        x * number + y * 3,
        x * y // number,
        (x - 128) ** 2 // number + (y - 128) ** 2 // 7,
    ]
    return torch.from_numpy(np.stack(channels) % 256)[None].float() / 255


def filled() -> LandmarkNetwork:
    network = LandmarkNetwork()
    read_landmark_weights(network)
    return network


@torch.no_grad()
def predicted(image: Tensor) -> LandmarkPrediction:
    prediction: LandmarkPrediction = filled()(image)
    return prediction


@pytest.mark.parametrize("number", GOLDEN)
def test_computes_what_the_original_computes(number: int) -> None:
    prediction = predicted(waves(number))
    for name, tolerance in (("points", 1e-2), ("world", 1e-4), ("present", 1e-4)):
        expected = torch.tensor(GOLDEN[number][name])
        torch.testing.assert_close(
            getattr(prediction, name).flatten(), expected, rtol=0, atol=tolerance
        )


def test_every_picture_is_seen_alone() -> None:
    alone = [predicted(waves(number)) for number in (2, 5)]
    together = predicted(torch.cat([waves(2), waves(5)]))
    for index, each in enumerate(alone):
        for one, of_two in zip(each, together, strict=True):
            torch.testing.assert_close(one[0], of_two[index], rtol=1e-4, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("size", [(192, 144), (2, 256), (250, 8)])
def test_pictures_in_the_middle_of_black_are_seen_as_the_whole(size: tuple[int, int]) -> None:
    network = filled()
    top, left = ((INPUT_SIZE - each) // 2 for each in size)
    whole = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)
    black = network.first_maps(whole)
    whole[:, :, top : INPUT_SIZE - top, left : INPUT_SIZE - left] = waves(3)[
        ..., : size[0], : size[1]
    ]
    picture = whole[:, :, top : INPUT_SIZE - top, left : INPUT_SIZE - left]
    for one, other in zip(network.in_the_middle(picture, black), network(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_the_default_graph_computes_nothing_that_nobody_reads() -> None:
    """BlazePose also has branches for a mask and for heat maps."""
    graph = onnx.load(open_bundle().folder / "auxiliary.onnx").graph
    read = {output.name for output in graph.output}
    for node in reversed(graph.node):
        assert read.intersection(node.output), node.name
        read.update(node.input)
    assert read >= {weight.name for weight in graph.initializer}
    convolutions = [layer for layer in LandmarkNetwork().modules() if hasattr(layer, "bounded")]
    assert sum(node.op_type == "Conv" for node in graph.node) == len(convolutions)


def test_weights_are_constants() -> None:
    network = filled()
    assert not network.state_dict()
    assert not list(network.parameters())
    assert all(buffer.any() for buffer in network.buffers())


def test_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.safetensors"
    tensors = {name: each.clone() for name, each in LandmarkNetwork().named_buffers()}
    tensors["world.bias"] = torch.zeros(5)
    save_tensors(tensors, path)
    with pytest.raises(ValueError, match="does not hold the weights of the landmark network"):
        read_landmark_weights(LandmarkNetwork(), path)
