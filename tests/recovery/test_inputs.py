import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr.keypoints import KEYPOINT_SETS, KeypointSet
from dualhmr.person import keypoints_input

SETS = list(KEYPOINT_SETS.values())


def numbered(names: KeypointSet, persons: int = 2) -> tuple[Tensor, Tensor]:
    """Keypoints that differ in their numbers."""
    count = persons * len(names)
    xy = torch.arange(1.0, 2 * count + 1).reshape(persons, len(names), 2)
    return xy, torch.linspace(0.1, 1, count).reshape(persons, len(names))


@pytest.mark.parametrize("source", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("target", SETS, ids=lambda s: s.name)
def test_points_are_matched_by_name(source: KeypointSet, target: KeypointSet) -> None:
    xy, confidence = numbered(source)
    read = keypoints_input(xy, confidence, source=source, target=target)
    assert read.shape == (2, len(target), 3)
    for row, name in enumerate(target.names):
        if name in source.names:
            given = source.index(name)
            assert torch.equal(read[:, row, :2], xy[:, given])
            assert torch.equal(read[:, row, 2], confidence[:, given])
        else:
            assert not read[:, row].any()


@pytest.mark.parametrize("nowhere", [0.0, -4.0, 1e30, math.inf, math.nan])
def test_missing_points_are_zero_wherever_they_say_they_are(nowhere: float) -> None:
    source = KEYPOINT_SETS["coco_17"]
    xy, confidence = numbered(source)
    confidence[0, 3] = 0
    xy[0, 3] = nowhere
    read = keypoints_input(xy, confidence, source=source, target=source)
    assert read[0, 3].tolist() == [0, 0, 0]
    assert read.isfinite().all()
    assert read[1, 3].all()


def test_numpy_arrays_are_read_alike() -> None:
    small, large = KEYPOINT_SETS["coco_17"], KEYPOINT_SETS["halpe_26"]
    xy, confidence = numbered(small)
    confidence[0, 3], xy[0, 3] = 0, math.nan
    read = keypoints_input(xy.numpy(), confidence.numpy(), source=small, target=large)
    assert read.dtype == np.float32
    expected = keypoints_input(xy, confidence, source=small, target=large)
    np.testing.assert_array_equal(read, expected.numpy())


def test_naming_the_points_in_a_larger_set_changes_nothing() -> None:
    small, large = KEYPOINT_SETS["coco_17"], KEYPOINT_SETS["coco_wholebody_133"]
    xy, confidence = numbered(small)
    in_large = keypoints_input(xy, confidence, source=small, target=large)
    again = keypoints_input(in_large[..., :2], in_large[..., 2], source=large, target=small)
    assert torch.equal(again, keypoints_input(xy, confidence, source=small, target=small))


@pytest.mark.parametrize(
    ("xy", "confidence"), [((2, 25, 2), (2, 25)), ((2, 17, 3), (2, 17)), ((2, 17, 2), (3, 17))]
)
def test_arrays_of_another_set_are_refused(
    xy: tuple[int, ...], confidence: tuple[int, ...]
) -> None:
    coco = KEYPOINT_SETS["coco_17"]
    with pytest.raises(ValueError, match=r"coco_17 needs \(N, 17, 2\) and \(N, 17\)"):
        keypoints_input(torch.zeros(xy), torch.zeros(confidence), source=coco, target=coco)
