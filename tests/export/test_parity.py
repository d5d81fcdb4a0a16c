from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from dualhmr.body.model import load_body
from dualhmr.engines import FrozenNetworks
from dualhmr_export.parity import Bounds, Difference, frozen_differences, table

BOUNDS = Bounds(features=1e-4, mesh_mm=0.05)


class ConstantNetwork:
    """A network with constant outputs."""

    reads = ("box_info",)
    runs_on = "nothing"

    def __init__(self, **outputs: np.ndarray) -> None:
        self.outputs = outputs

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        assert len(inputs["box_info"]) == 2
        return self.outputs


def networks(features: np.ndarray, betas: np.ndarray) -> FrozenNetworks:
    rotations = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 24, 3, 3)).copy()
    auxiliary = ConstantNetwork(rotations=rotations, betas=betas)
    return FrozenNetworks(ConstantNetwork(features=features), auxiliary, backend="none")


def compare(features: np.ndarray, betas: np.ndarray) -> tuple[Difference, ...]:
    """With features 3, 4 and average bodies; the first person's differ, the second's do not."""
    reference = networks(np.array([[3, 4], [3, 4]], np.float32), np.zeros((2, 10), np.float32))
    inputs = {"box_info": np.zeros((2, 3), np.float32)}
    return frozen_differences(reference, networks(features, betas), inputs, load_body(), BOUNDS)


def test_equal_networks() -> None:
    rows = compare(np.array([[3, 4], [3, 4]], np.float32), np.zeros((2, 10), np.float32))
    assert [(row.absolute, row.relative, row.holds) for row in rows] == [(0, 0, True)] * 2


def test_hand_worked_differences() -> None:
    betas = np.zeros((2, 10), np.float32)
    betas[0, 1] = 0.5
    features, mesh = compare(np.array([[3, 4.01], [3, 4]], np.float32), betas)
    assert features.absolute == pytest.approx(0.01, rel=1e-3)
    assert features.relative == pytest.approx(0.002, rel=1e-3)
    body = load_body()
    moved = 0.5 * body.shapedirs.reshape(-1, 3, 10)[..., 1].norm(dim=1)
    assert mesh.absolute == pytest.approx(1000 * float(moved.max()), rel=1e-3)
    extent = (body.v_template - body.v_template.mean(0)).norm()
    assert mesh.relative == pytest.approx(float(moved.norm() / extent), rel=1e-3)
    assert not features.holds
    assert not mesh.holds


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_does_not_hold(number: float) -> None:
    betas = np.full((2, 10), number, np.float32)
    assert not any(row.holds for row in compare(np.full((2, 2), number, np.float32), betas))


def test_the_table_says_what_fails() -> None:
    betas = np.zeros((2, 10), np.float32)
    lines = table(compare(np.array([[3, 4.01], [3, 4]], np.float32), betas)).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| backbone.onnx | features | 0.01 | 2.0e-03 | 0.0001 relative |")
    assert "FAILS" in lines[2]
    assert "holds" in lines[3]
