"""Adapting without PyTorch and with it: the same bodies, whatever keypoints are given."""

import numpy as np
import pytest

from dualhmr import Recoverer
from dualhmr.example import example
from dualhmr.keypoints import BODY_25, HALPE_26, Keypoints, KeypointSet


@pytest.fixture(scope="module")
def recoverers() -> dict[str, Recoverer]:
    return {name: Recoverer(adaptation=name) for name in ("onnx", "numba", "torch")}


def in_set(target: KeypointSet) -> Keypoints:
    given = example()[1]
    rows = [given.set.names.index(n) if n in given.set.names else None for n in target.names]
    xy = [np.zeros(2) if row is None else given.xy[0, row] for row in rows]
    confidence = [0.0 if row is None else given.confidence[0, row] for row in rows]
    return Keypoints(target, np.float32([xy]), np.float32([confidence]))


@pytest.mark.parametrize("target", [example()[1].set, BODY_25, HALPE_26], ids=lambda s: s.name)
@pytest.mark.parametrize("max_steps", [0, 14])
@pytest.mark.parametrize("adaptation", ["onnx", "numba"])
def test_adapters_agree(
    recoverers: dict[str, Recoverer], target: KeypointSet, max_steps: int, adaptation: str
) -> None:
    photo = example()[0]
    found, expected = (
        recoverers[name].recover(photo, in_set(target), max_steps=max_steps)
        for name in (adaptation, "torch")
    )
    assert found.loss_history[0] == pytest.approx(expected.loss_history[0], rel=1e-4)
    assert found.stop_reason == expected.stop_reason
    assert found.best_step.tolist() == expected.best_step.tolist()
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)
    np.testing.assert_allclose(found.keypoints_2d, expected.keypoints_2d, atol=0.05)
    np.testing.assert_allclose(found.reprojection_px, expected.reprojection_px, atol=0.05)
