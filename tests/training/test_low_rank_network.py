"""Steps of all parameters in low-rank form, against weights for every sample."""

from unittest import mock

import pytest
import torch
from helpers.inner_steps import (
    PEOPLE,
    RATE,
    assert_close,
    assert_same_steps,
    normal,
    small_evidence,
    small_inputs,
    small_network,
    small_objective,
)
from helpers.tiny_image_backbone import TinyImageBackbone

from dualhmr.keypoints import COCO_17
from dualhmr.networks import KeypointTrunk, MeshRegressor, RegressorHead
from dualhmr.objective.objective import Objective
from dualhmr_training import meta_step
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.meta_step import adapted_output, adapted_output_by_mapping

INPUTS = small_inputs() | {
    "image": torch.randint(
        256, (PEOPLE, 64, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(6)
    )
}


@pytest.fixture(scope="module")
def objective() -> Objective:
    return small_objective()


def keypoint_network(*, reads_box_info: bool = True) -> MeshRegressor:
    """With two blocks, layer norms that have learnt something, and features that count."""
    trunk = KeypointTrunk(keypoint_count=len(COCO_17), feature_count=6, blocks=2)
    network = small_network(trunk, reads_box_info=reads_box_info)
    with torch.no_grad():
        for decoder in (network.head.decpose, network.head.decshape, network.head.deccam):
            decoder.weight *= 10
        for seed, layer in enumerate(network.backbone.modules()):
            if isinstance(layer, torch.nn.LayerNorm):
                layer.weight += 0.3 * normal(6, seed=seed)
                layer.bias += 0.3 * normal(6, seed=seed + 10)
    return network


def image_network() -> MeshRegressor:
    head = RegressorHead(8, hidden=5, iterations=2, reads_box_info=True, dropout=0.0)
    return MeshRegressor(TinyImageBackbone(), head).double()


@pytest.mark.parametrize("reads_box_info", [False, True], ids=["hmr", "cliff"])
@pytest.mark.parametrize("losses", [None, ("keypoints_2d",)])
@pytest.mark.parametrize("max_norm", [None, 0.01])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_low_rank_form_equals_steps_for_each_sample(
    objective: Objective,
    reads_box_info: bool,
    losses: tuple[str, ...] | None,
    max_norm: float | None,
    steps: int,
) -> None:
    network = keypoint_network(reads_box_info=reads_box_info)
    inner = InnerLoop(steps, RATE, max_norm, losses, scope="all")
    known = small_evidence(objective)
    with mock.patch.object(meta_step, "adapted_output_by_mapping") as mapping:
        fast = adapted_output(network, INPUTS, objective, known, inner)
        with torch.no_grad():  # as in validation
            assert_close(adapted_output(network, INPUTS, objective, known, inner), fast)
    mapping.assert_not_called()
    plain = adapted_output_by_mapping(network, INPUTS, objective, known, inner)
    assert_same_steps(network, fast, plain)


def test_every_layer_takes_part(objective: Objective) -> None:
    """Steps of the backbone count beside those of the head."""
    network, known = keypoint_network(), small_evidence(objective)
    of_head, of_all = (
        adapted_output(
            network, INPUTS, objective, known, InnerLoop(learning_rate=RATE, scope=scope)
        )
        for scope in ("head", "all")
    )
    assert (of_head.pose_6d - of_all.pose_6d).abs().max() > 1e-4


def test_the_network_is_as_it_was(objective: Objective) -> None:
    network, known = keypoint_network(), small_evidence(objective)
    before = network(INPUTS)
    inner = InnerLoop(steps=2, learning_rate=RATE, scope="all")
    adapted_output(network, INPUTS, objective, known, inner)
    with pytest.raises(ValueError, match="unknown losses"):
        adapted_output(network, INPUTS, objective, known, InnerLoop(losses=("a",), scope="all"))
    assert_close(network(INPUTS), before, 0)


def with_dropout() -> MeshRegressor:
    network = keypoint_network().train()
    network.head.drop1.p = network.head.drop2.p = 0.5
    return network


@pytest.mark.parametrize(
    ("network", "second_order"),
    [(image_network(), False), (with_dropout(), False), (keypoint_network(), True)],
    ids=["convolutions", "dropout", "second order"],
)
def test_others_are_mapped(
    objective: Objective, network: MeshRegressor, second_order: bool
) -> None:
    inner = InnerLoop(learning_rate=RATE, scope="all", second_order=second_order)
    known = small_evidence(objective)
    with mock.patch.object(
        meta_step, "adapted_output_by_mapping", side_effect=adapted_output_by_mapping
    ) as mapping:
        output = adapted_output(network, INPUTS, objective, known, inner)
    mapping.assert_called_once()
    assert (output.pose_6d - network.eval()(INPUTS).pose_6d).abs().max() > 1e-7
