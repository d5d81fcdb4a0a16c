from dataclasses import replace

import pytest
import torch
from helpers.tiny_training import TINY, flat, networks_and_batches

from dualhmr_training.batches import Batch
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.dual import DualNetworks


@pytest.fixture(params=[TINY.inner, InnerLoop(steps=0), replace(TINY.inner, second_order=True)])
def both(request: pytest.FixtureRequest) -> tuple[DualNetworks, DualNetworks, Batch]:
    """The same networks in float32 and in bfloat16, in training mode."""
    config = replace(TINY, inner=request.param)
    full, batches = networks_and_batches(config)
    mixed, _ = networks_and_batches(replace(config, precision="bf16"))
    return full.train(), mixed.train(), batches.batch(0, config.batch)


def test_weights_and_their_names_are_the_same(
    both: tuple[DualNetworks, DualNetworks, Batch],
) -> None:
    full, mixed, _ = both
    assert list(full.state_dict()) == list(mixed.state_dict())
    assert torch.equal(flat(full), flat(mixed))
    assert all(parameter.dtype == torch.float32 for parameter in mixed.parameters())


def test_only_backbones_in_training_are_coarse(
    both: tuple[DualNetworks, DualNetworks, Batch],
) -> None:
    full, mixed, batch = both
    seen: list[torch.dtype] = []
    for layer in (mixed.main.backbone.blocks[0].expand, mixed.main.head.fc2):  # type: ignore[index, union-attr]
        layer.register_forward_hook(lambda _layer, _read, output: seen.append(output.dtype))
    features = mixed.main.encode(batch.inputs)
    assert features.dtype == torch.float32
    mixed.main(batch.inputs)
    assert set(seen[:2]) == {torch.bfloat16}
    assert set(seen[2:]) == {torch.float32}
    exact = full.main.encode(batch.inputs)
    assert 0 < (features - exact).abs().max() < 0.05
    assert torch.equal(mixed.eval().main.encode(batch.inputs), exact)


def test_losses_and_gradients_are_nearly_those_of_float32(
    both: tuple[DualNetworks, DualNetworks, Batch],
) -> None:
    full, mixed, batch = both
    gradients = []
    for networks in (full, mixed):
        loss = torch.stack(list(networks(batch).values())).sum()
        of_each = torch.autograd.grad(loss, list(networks.parameters()))
        gradients.append(torch.cat([gradient.flatten() for gradient in of_each]))
    assert gradients[0].shape == gradients[1].shape
    assert gradients[1].dtype == torch.float32
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
    assert not torch.equal(*gradients)
