import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from helpers.tiny_training import ORDINARY, TINY, flat, networks_and_batches
from torch import Tensor

from dualhmr_training.batches import Batch
from dualhmr_training.checkpoints import Checkpoint
from dualhmr_training.configuration import InnerLoop, OptimiserConfig, TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.run import open_accelerator
from dualhmr_training.trainer import Trainer, learning_rate


def trainer_of(config: TrainingConfig) -> Trainer:
    networks, batches = networks_and_batches(config)
    return Trainer(config, networks, batches, accelerator=open_accelerator("cpu"))


def train(config: TrainingConfig, steps: int | None = None) -> Trainer:
    trainer = trainer_of(config)
    for _ in range(config.steps if steps is None else steps):
        trainer.train_step()
    return trainer


def test_training_lowers_the_loss() -> None:
    trainer = trainer_of(replace(ORDINARY, steps=25, batch=16))
    losses = []
    for _ in range(25):
        row = trainer.train_step()
        losses.append(sum(value for name, value in row.items() if "/" in name))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_meta_training_lowers_the_loss_of_the_adapted_network() -> None:
    trainer = trainer_of(replace(TINY, steps=20, batch=16))
    rows = [trainer.train_step() for _ in range(20)]
    for network in ("main", "auxiliary"):
        losses = [sum(value for name, value in row.items() if network in name) for row in rows]
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize("change", [{}, {"dropout": 0.3}, {"precision": "bf16"}])
def test_the_same_config_gives_the_same_weights(change: dict[str, object]) -> None:
    config = replace(TINY, steps=3, **change)  # type: ignore[arg-type]
    first = train(config)
    torch.manual_seed(99)
    assert torch.equal(flat(train(config).networks), flat(first.networks))


def test_the_seed_is_that_of_the_people_too() -> None:
    first = {
        name: tensor.clone() for name, tensor in trainer_of(TINY).networks.state_dict().items()
    }

    def first_losses(config: TrainingConfig) -> dict[str, float]:
        trainer = trainer_of(config)
        trainer.networks.load_state_dict(first)
        return trainer.train_step()

    assert first_losses(TINY) == first_losses(TINY)
    assert first_losses(TINY) != first_losses(replace(TINY, seed=17))


def test_steps_are_dropped_out_differently() -> None:
    class SameBatch:
        def batch(self, step: int, count: int, *, process: int, processes: int) -> Batch:
            assert (step >= 0, process, processes) == (True, 0, 1)
            return batches.batch(0, count)

    config = replace(ORDINARY, dropout=0.5)
    networks, batches = networks_and_batches(config)
    trainer = Trainer(config, networks, SameBatch(), accelerator=open_accelerator("cpu"))
    before = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
    first = trainer.train_step()
    networks.load_state_dict(before)
    assert trainer.train_step() != first


def test_what_a_step_tells_is_what_the_networks_lose() -> None:
    trainer = trainer_of(TINY)
    networks, batches = networks_and_batches(TINY)
    losses = networks.train()(batches.batch(0, TINY.batch))
    row = trainer.train_step()
    assert row.keys() == {*losses, "main/gradient_norm", "auxiliary/gradient_norm"}
    for name, loss in losses.items():
        assert row[name] == pytest.approx(loss.item())
    total = torch.stack(list(losses.values())).sum()
    for name, network in networks.named_children():
        gradient = torch.autograd.grad(total, list(network.parameters()), retain_graph=True)
        length = torch.cat([part.flatten() for part in gradient]).norm().item()
        assert row[f"{name}/gradient_norm"] == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize("max_norm", [0.01, None, 1e6])
def test_the_gradient_of_each_network_is_clipped(max_norm: float | None) -> None:
    trainer = trainer_of(replace(TINY, optimiser=OptimiserConfig(max_norm=max_norm)))
    row = trainer.train_step()
    for name, network in trainer.networks.named_children():
        told = row[f"{name}/gradient_norm"]
        parts = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        expected = min(told, math.inf if max_norm is None else max_norm)
        assert torch.cat(parts).norm().item() == pytest.approx(expected, rel=1e-3)
        assert told > 0.01


def test_the_loss_scale_scales_the_gradient_alone() -> None:
    config = replace(TINY, optimiser=OptimiserConfig(max_norm=None))
    plain = trainer_of(config).train_step()
    scaled = trainer_of(replace(config, loss_scale=60.0)).train_step()
    for network in ("main", "auxiliary"):
        name = f"{network}/gradient_norm"
        assert scaled.pop(name) == pytest.approx(60 * plain.pop(name), rel=1e-4)
    assert scaled == plain


def test_the_learning_rate_warms_up_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: rates.append(self.param_groups[0]["lr"])
    )
    optimiser = OptimiserConfig(learning_rate=1e-3, final_rate=1e-5, warm_up_steps=5)
    train(replace(ORDINARY, steps=20, batch=2, optimiser=optimiser))
    assert rates == [learning_rate(optimiser, step, 20) for step in range(20)]
    assert rates[0] == pytest.approx(1e-3 / 5, rel=1e-3)
    peak = rates.index(max(rates))
    assert peak in (4, 5)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 1e-5 < rates[-1] < 3e-5


def test_a_constant_learning_rate() -> None:
    optimiser = OptimiserConfig(learning_rate=1e-4, final_rate=1e-4, warm_up_steps=0)
    assert {learning_rate(optimiser, step, 20) for step in range(20)} == {1e-4}


def test_the_moving_average() -> None:
    trainer = trainer_of(replace(TINY, ema_decay=0.5))
    trainer.train_step()
    expected = flat(trainer.networks).clone()
    assert torch.equal(flat(trainer.trained), expected)
    for _ in range(2):
        trainer.train_step()
        expected = 0.5 * expected + 0.5 * flat(trainer.networks)
        torch.testing.assert_close(flat(trainer.trained), expected)
    assert not torch.equal(flat(trainer.trained), flat(trainer.networks))
    plain = train(TINY, 3)
    assert torch.equal(flat(plain.networks), flat(trainer.networks))
    assert plain.trained is plain.networks


def test_evaluation_in_between_changes_nothing() -> None:
    config = replace(TINY, dropout=0.3, ema_decay=0.9, steps=4)
    watched = trainer_of(config)
    for step in range(4):
        watched.train_step()
        networks = watched.trained.eval()
        with torch.no_grad():
            networks.main(networks_and_batches(config)[1].batch(step, 4).inputs)
        watched.networks.eval()
        torch.rand(step)
    assert torch.equal(flat(watched.trained), flat(train(config).trained))
    assert watched.networks.training is False


CONFIGURATIONS = [
    replace(TINY, ema_decay=0.9),
    replace(TINY, dropout=0.3),
    replace(TINY, precision="bf16", inner=InnerLoop(steps=2)),
    replace(ORDINARY, auxiliary=None),
]


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_going_on_from_a_checkpoint_is_as_if_nothing_had_been(config: TrainingConfig) -> None:
    whole = trainer_of(config)
    rows = [whole.train_step() for _ in range(config.steps)]
    begun = train(config, 3)
    begun_rows = begun.running_means.means()
    checkpoint = begun.checkpoint()
    begun.train_step()
    torch.manual_seed(1)
    resumed = trainer_of(config)
    resumed.restore(checkpoint)
    assert (resumed.step, resumed.running_means.means()) == (3, begun_rows)
    assert [resumed.train_step() for _ in range(3, config.steps)] == rows[3:]
    assert torch.equal(flat(resumed.networks), flat(whole.networks))
    assert torch.equal(flat(resumed.trained), flat(whole.trained))
    assert resumed.report() == whole.report()
    assert resumed.report() == {}


def test_a_checkpoint_of_another_configuration_says_what_differs() -> None:
    checkpoint = train(TINY, 1).checkpoint()
    other = replace(TINY, steps=99, inner=replace(TINY.inner, max_norm=None))
    with pytest.raises(ValueError, match=r"max_norm was 1.0 and is null; steps was 6 and is 99"):
        trainer_of(other).restore(checkpoint)


def test_a_checkpoint_from_before_a_field_was_there() -> None:
    trainer = train(TINY, 1)
    checkpoint = trainer.checkpoint()
    del checkpoint.config["precision"]
    trainer_of(TINY).restore(checkpoint)
    with pytest.raises(ValueError, match="precision was "):
        trainer_of(replace(TINY, precision="bf16")).restore(checkpoint)
    strange = Checkpoint(1, {}, {}, {}, {**checkpoint.config, "gone": 3})
    with pytest.raises(ValueError, match="unknown TrainingConfig field gone"):
        trainer_of(TINY).restore(strange)


def spoiled(spoil: Callable[[Batch], Batch]) -> Trainer:
    networks, batches = networks_and_batches(TINY)

    class Spoiled:
        def batch(self, step: int, count: int, *, process: int, processes: int) -> Batch:
            return spoil(batches.batch(step, count, process=process, processes=processes))

    return Trainer(TINY, networks, Spoiled(), accelerator=open_accelerator("cpu"))


def not_a_number(batch: Batch) -> Batch:
    batch.truth.keypoints[0, 0] = torch.nan
    return batch


def test_a_loss_that_is_no_number_is_an_error_before_weights_change() -> None:
    trainer = spoiled(not_a_number)
    before = flat(trainer.networks).clone()
    with pytest.raises(FloatingPointError, match=r"step 0 has numbers that are not finite: .*nan"):
        trainer.train_step()
    assert torch.equal(flat(trainer.networks), before)
    assert trainer.step == 0


def test_a_gradient_that_is_no_number_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(TINY)
    before = flat(trainer.networks).clone()
    forward = DualNetworks.forward

    def steep(networks: DualNetworks, batch: Batch) -> dict[str, Tensor]:
        losses = forward(networks, batch)
        bias = networks.main.head.deccam.bias
        return losses | {"main/steep": (bias - bias.detach()).abs().sqrt().sum()}

    monkeypatch.setattr(DualNetworks, "forward", steep)
    with pytest.raises(FloatingPointError, match="'main/gradient_norm': nan"):
        trainer.train_step()
    assert torch.equal(flat(trainer.networks), before)


def test_the_batch_must_divide_among_the_processes() -> None:
    class Three:
        num_processes = 3

    networks, batches = networks_and_batches(TINY)
    with pytest.raises(ValueError, match="a batch of 8 does not divide among 3 processes"):
        Trainer(TINY, networks, batches, accelerator=Three())  # type: ignore[arg-type]


def test_devices() -> None:
    assert open_accelerator("cpu").device.type == "cpu"
    with pytest.raises(ValueError, match="unknown device 'tpu'; known are auto, cpu, cuda"):
        open_accelerator("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="sees no GPU"):
            open_accelerator("cuda")
        assert open_accelerator().device.type == "cpu"
