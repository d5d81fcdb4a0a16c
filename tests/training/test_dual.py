from dataclasses import replace

import pytest
import torch
from helpers.tiny_training import ORDINARY, TINY, networks_and_batches
from torch import Tensor

from dualhmr.networks import HeadOutput
from dualhmr.objective.weights import LossWeights
from dualhmr_training.batches import Batch, some_of
from dualhmr_training.configuration import InnerLoop, TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.meta_step import adapted_output

LOSSES = ("keypoints_2d", "joints_3d", "vertices", "rotations", "betas", "camera")
ALONE = replace(TINY, auxiliary=None, inner=InnerLoop(learning_rate=0.01, losses=LOSSES[:1]))


def set_up(config: TrainingConfig) -> tuple[DualNetworks, Batch]:
    networks, batches = networks_and_batches(config)
    return networks, batches.batch(0, config.batch)


def gradients(loss: Tensor, network: torch.nn.Module | None) -> list[Tensor | None]:
    assert network is not None
    parameters = list(network.parameters())
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))


def close(one: HeadOutput, other: HeadOutput) -> bool:
    return all(torch.allclose(*pair, atol=1e-6) for pair in zip(one, other, strict=True))


def test_losses_of_both_networks_by_name() -> None:
    networks, batch = set_up(TINY)
    losses = networks(batch)
    assert set(losses) == {
        f"{network}/{loss}" for network in ("main", "auxiliary") for loss in LOSSES
    }
    assert all(loss.ndim == 0 and loss.requires_grad for loss in losses.values())


def test_only_what_is_asked_for_and_has_a_weight() -> None:
    config = replace(
        TINY, weights=LossWeights(vertices=0.0), outer_losses=("vertices", "betas", "rotations")
    )
    networks, batch = set_up(config)
    assert set(networks(batch)) == {
        f"{network}/{loss}" for network in ("main", "auxiliary") for loss in ("rotations", "betas")
    }


@pytest.mark.parametrize("steps", [0, 1])
def test_the_auxiliary_network_is_under_the_supervised_loss_alone(steps: int) -> None:
    networks, batch = set_up(replace(TINY, inner=replace(TINY.inner, steps=steps)))
    assert networks.auxiliary is not None
    losses = networks(batch)
    output = networks.auxiliary(batch.inputs)
    for name, loss in networks._objective.losses(output, batch.truth).items():
        torch.testing.assert_close(losses[f"auxiliary/{name}"], loss.mean())


@pytest.mark.parametrize("second_order", [False, True])
def test_neither_network_gets_gradient_from_the_other_s_losses(second_order: bool) -> None:
    networks, batch = set_up(replace(TINY, inner=replace(TINY.inner, second_order=second_order)))
    losses = networks(batch)
    for name, other in (("main", networks.auxiliary), ("auxiliary", networks.main)):
        loss = torch.stack([value for key, value in losses.items() if name in key]).sum()
        assert all(gradient is None for gradient in gradients(loss, other))
        assert all(gradient is not None for gradient in gradients(loss, getattr(networks, name)))


def test_weights_of_the_batch_are_for_training_people_are_validated_alone() -> None:
    inner = replace(TINY.inner, learning_rate=0.01)
    shared, batch = set_up(replace(TINY, inner=replace(inner, weights_per="batch")))
    own, _ = set_up(replace(TINY, inner=inner))
    assert close(shared.adapted(batch), own.adapted(batch))
    losses = [torch.stack(list(networks(batch).values())).sum() for networks in (shared, own)]
    assert not torch.isclose(*losses)


def test_the_main_network_is_under_the_loss_after_a_step_on_keypoints_and_pseudo_mesh() -> None:
    networks, batch = set_up(TINY)
    assert networks.auxiliary is not None
    objective = networks._objective
    guessed = networks.auxiliary(batch.inputs)
    rotations = guessed.pose_6d.unflatten(1, (24, 3, 2))
    first = torch.nn.functional.normalize(rotations[..., 0], dim=-1)
    second = rotations[..., 1] - (first * rotations[..., 1]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    matrices = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    target = objective.target(matrices.detach(), guessed.betas.detach())
    known = batch.evidence._replace(target=target)
    expected = adapted_output(networks.main, batch.inputs, objective, known, TINY.inner)
    assert close(networks.adapted(batch), expected)
    assert not close(networks.adapted(batch), networks.main(batch.inputs))
    losses = networks(batch)
    for name, loss in objective.losses(expected, batch.truth).items():
        torch.testing.assert_close(losses[f"main/{name}"], loss.mean())


def test_without_inner_steps_it_is_ordinary_training() -> None:
    networks, batch = set_up(ORDINARY)
    losses = networks(batch)
    output = networks.main(batch.inputs)
    for name, loss in networks._objective.losses(output, batch.truth).items():
        torch.testing.assert_close(losses[f"main/{name}"], loss.mean(), rtol=0, atol=0)
    assert close(networks.adapted(batch), output)


def test_without_an_auxiliary_network() -> None:
    networks, batch = set_up(ALONE)
    assert set(networks(batch)) == {f"main/{loss}" for loss in LOSSES}
    assert [name for name, _ in networks.named_children()] == ["main"]
    known = batch.evidence._replace(target=None)
    objective = networks._objective
    expected = adapted_output(networks.main, batch.inputs, objective, known, ALONE.inner)
    assert close(networks.adapted(batch), expected)
    assert not close(expected, networks.main(batch.inputs))


def test_the_pseudo_mesh_matters_only_where_the_inner_losses_use_it() -> None:
    both, batch = set_up(TINY)
    only_keypoints, _ = set_up(replace(TINY, inner=replace(TINY.inner, losses=("keypoints_2d",))))
    without = DualNetworks(
        both.main, None, both._objective, replace(TINY.inner, losses=("keypoints_2d",))
    )
    assert close(only_keypoints.adapted(batch), without.adapted(batch))
    assert not close(both.adapted(batch), without.adapted(batch))


def test_the_loss_is_the_mean_over_persons() -> None:
    networks, batch = set_up(TINY)
    whole = networks(batch)
    parts = [networks(some_of(batch, slice(index, None, 4))) for index in range(4)]
    for name, loss in whole.items():
        torch.testing.assert_close(loss, torch.stack([part[name] for part in parts]).mean())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"auxiliary": None},
            r"inner losses betas, joints_3d, rotations, vertices need the auxiliary network's",
        ),
        (
            {"auxiliary": None, "inner": InnerLoop(losses=("keypoints_2d", "betas"))},
            r"inner losses betas need the auxiliary",
        ),
        ({"inner": InnerLoop(losses=("joints",))}, "inner.losses has unknown losses joints; known"),
        (
            {"outer_losses": ("mesh", "betas")},
            "outer_losses has unknown losses mesh; known",
        ),
        ({"outer_losses": ()}, "none of outer_losses has a weight"),
        (
            {"inner": InnerLoop(losses=("vertices",)), "weights": LossWeights(vertices=0)},
            "none of inner.losses has a weight",
        ),
    ],
)
def test_configurations_that_contradict_themselves(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_up(replace(TINY, **change))  # type: ignore[arg-type]


def test_inner_losses_do_not_count_without_inner_steps() -> None:
    networks, _ = set_up(replace(TINY, auxiliary=None, inner=InnerLoop(steps=0)))
    assert networks.auxiliary is None
    keypoints_only = LossWeights(joints_3d=0, vertices=0, rotations=0, betas=0, camera=0)
    networks, batch = set_up(replace(TINY, auxiliary=None, weights=keypoints_only))
    assert set(networks(batch)) == {"main/keypoints_2d"}


def test_the_outer_problem_has_weights_of_its_own() -> None:
    plain, batch = set_up(TINY)
    other, _ = set_up(replace(TINY, outer_weights=LossWeights(joints_3d=50.0, betas=0.0)))
    assert close(other.adapted(batch), plain.adapted(batch))
    expected, losses = plain(batch), other(batch)
    for network in ("main", "auxiliary"):
        del expected[f"{network}/betas"]
        expected[f"{network}/joints_3d"] *= 10
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])


def test_batch_norms_and_inner_steps_of_all_parameters() -> None:
    network = replace(TINY.main, backbone="resnet50", backbone_options={}, reads=("image",))
    config = replace(TINY, main=network, auxiliary=None, inner=ALONE.inner)
    with pytest.raises(ValueError, match=r"batch norms.*inner.scope head"):
        networks_and_batches(replace(config, inner=replace(ALONE.inner, scope="all")))
