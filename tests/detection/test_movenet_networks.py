"""The shipped networks against the originals, which TensorFlow.js ran on the same pictures."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dualhmr.detection.movenet import ASSETS, MovenetNetwork
from dualhmr.detection.movenet_maps import people_in_maps, person_in_maps
from dualhmr.engines import EngineOptions

skimage_data = pytest.importorskip("skimage.data")

GOLDEN = json.loads((Path(__file__).parent / "movenet_golden.json").read_text())
"""Rows of the originals for two pictures of scikit-image: MultiPose's best person, Thunder's."""
# With the weights of the original, the same script gives the same rows to 1e-4 pixels. Those that
# are shipped are rounded to 8 bits.
CLEAR = 0.3
LARGEST_PX, MEAN_PX, SCORE = 6.0, 1.5, 0.12


def picture(name: str) -> npt.NDArray[np.uint8]:
    """256x256 RGB, without resampling, which would depend on Pillow's version."""
    pixels = getattr(skimage_data, name)()[::2, ::2]
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2))


def network(name: str) -> MovenetNetwork:
    return MovenetNetwork(ASSETS / f"{name}.onnx", EngineOptions(threads=1))


def check(keypoints: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], row: object) -> None:
    expected = np.array(row).reshape(17, 3)
    clear = expected[:, 2] > CLEAR
    assert clear.sum() >= 8
    away = np.linalg.norm(keypoints - 256 * expected[:, [1, 0]], axis=1)[clear]
    assert away.max() < LARGEST_PX
    assert away.mean() < MEAN_PX
    assert np.abs(scores - expected[:, 2])[clear].max() < SCORE


@pytest.mark.parametrize("name", GOLDEN)
def test_multipose_finds_what_the_original_finds(name: str) -> None:
    found = people_in_maps(network("multipose")(picture(name)), most=6)
    row = np.array(GOLDEN[name]["multipose"])
    check(found.keypoints[0], found.scores[0], row[:51])
    assert np.abs(found.boxes[0] - 256 * row[[52, 51, 54, 53]]).max() < LARGEST_PX
    assert abs(found.person_scores[0] - row[55]) < SCORE
    assert found.person_scores[1:].max() < 0.1


@pytest.mark.parametrize("name", GOLDEN)
def test_thunder_finds_what_the_original_finds(name: str) -> None:
    check(*person_in_maps(network("thunder")(picture(name))), GOLDEN[name]["thunder"])
