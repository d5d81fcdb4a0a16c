"""Several processes train as one does that has the whole batch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from helpers.child_processes import run_together
from helpers.tiny_training import ORDINARY, TINY, networks_and_batches, train_command

from dualhmr_training.batches import Batch, some_of
from dualhmr_training.configuration import InnerLoop, OptimiserConfig, TrainingConfig
from dualhmr_training.run import close_accelerator, open_accelerator
from dualhmr_training.trainer import Batches, Trainer

STEPS = 3
CONFIGS = {
    "meta": replace(TINY, optimiser=OptimiserConfig(warm_up_steps=0, max_norm=None)),
    "mapped": replace(TINY, inner=InnerLoop(steps=2, learning_rate=1e-3, second_order=True)),
    "ordinary": replace(ORDINARY, ema_decay=0.5),
    "alone": replace(ORDINARY, auxiliary=None),
    "partly": replace(TINY, optimiser=OptimiserConfig(warm_up_steps=0, max_norm=None)),
}


class PartlyAnnotated:
    """Some have a mesh, all of them in the first of two processes, and some have joints."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def batch(self, step: int, count: int, *, process: int, processes: int) -> Batch:
        whole = self._batches.batch(step, count, process=0, processes=1)
        person = torch.arange(count)
        target = whole.truth.target
        assert target is not None
        target = target._replace(
            annotated=person % 4 == 0,
            joints_confidence=(person % 3 > 0)[:, None].expand(target.joints.shape[:2]).float(),
        )
        whole = whole._replace(truth=whole.truth._replace(target=target))
        return some_of(whole, slice(process, None, processes))


def train(name: str, processes: int) -> dict[str, object]:
    """Gradient, losses and weights after some steps."""
    config = CONFIGS[name]
    networks, batches = networks_and_batches(config)
    accelerator = open_accelerator("cpu")
    assert accelerator.num_processes == processes
    drawn: Batches = PartlyAnnotated(batches) if name == "partly" else batches
    trainer = Trainer(config, networks, drawn, accelerator=accelerator)
    told = [trainer.train_step()]
    gradient = [parameter.grad for parameter in networks.parameters()]
    first = torch.cat([part.flatten() for part in gradient if part is not None])
    told += [trainer.train_step() for _ in range(STEPS - 1)]
    weights = torch.nn.utils.parameters_to_vector(trainer.trained.parameters()).detach()
    return {"gradient": first, "told": told, "weights": weights}


def train_all(process: int, folder: Path) -> None:
    results = {name: train(name, processes=2) for name in CONFIGS}
    close_accelerator(open_accelerator("cpu"))
    torch.save(results, folder / f"{process}.pt")


@pytest.fixture(scope="module")
def of_both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("processes")
    assert run_together(2, train_all, folder) == [0, 0]
    return [torch.load(folder / f"{process}.pt") for process in range(2)]


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_equal_those_of_one_process_with_the_doubled_batch(
    name: str, of_both: list[dict[str, dict[str, torch.Tensor]]]
) -> None:
    first, second = (results[name] for results in of_both)
    alone = train(name, processes=1)
    assert torch.equal(first["gradient"], second["gradient"])
    scale = alone["gradient"].abs().max().item()  # type: ignore[attr-defined]
    assert scale > 1e-3
    torch.testing.assert_close(
        first["gradient"], alone["gradient"], rtol=1e-5, atol=1e-6 * max(1.0, scale)
    )
    assert torch.equal(first["weights"], second["weights"])
    torch.testing.assert_close(first["weights"], alone["weights"], rtol=0, atol=1e-5)
    assert first["told"] == second["told"]
    for row, expected in zip(first["told"], alone["told"], strict=True):  # type: ignore[arg-type, call-overload]
        assert row == pytest.approx(expected, rel=1e-4)


def test_a_loss_that_is_no_number_in_one_process_ends_all(tmp_path: Path) -> None:
    assert run_together(2, train_with_a_spoiled_share, tmp_path) == [0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"0.raised", "1.raised"}


def train_with_a_spoiled_share(process: int, folder: Path) -> None:
    accelerator = open_accelerator("cpu")
    train_until_the_spoiled_step(accelerator)
    (folder / f"{process}.raised").touch()
    close_accelerator(accelerator)


def train_until_the_spoiled_step(accelerator: Accelerator) -> None:
    networks, batches = networks_and_batches(TINY)

    class Spoiled:
        def batch(self, step: int, count: int, *, process: int, processes: int) -> Batch:
            batch = batches.batch(step, count, process=process, processes=processes)
            if (step, process) == (1, 1):
                batch.truth.keypoints[0, 0] = torch.nan
            return batch

    trainer = Trainer(TINY, networks, Spoiled(), accelerator=accelerator)
    trainer.train_step()
    with pytest.raises(FloatingPointError, match="step 1 has numbers that are not finite"):
        trainer.train_step()


def test_the_command_in_two_processes_and_resumed_in_one(tmp_path: Path) -> None:
    config = replace(TINY, steps=4)
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    assert train_command(config, alone) == 0
    (together / "poses.npz").write_bytes((alone / "poses.npz").read_bytes())
    assert run_together(2, command, config, together) == [0, 0]
    assert files(together) == files(alone)
    of_alone, of_both = (
        [json.loads(line) for line in (folder / "out" / "history.jsonl").read_text().splitlines()]
        for folder in (alone, together)
    )
    assert [row["step"] for row in of_both] == [2, 4]
    for row, expected in zip(of_both, of_alone, strict=True):
        del row["time"], expected["time"]
        assert row == pytest.approx(expected, rel=1e-3)
    assert train_command(config, together) == 0


def files(folder: Path) -> set[Path]:
    """Those below a folder, but for TensorBoard's, which have the time in their names."""
    every = {path.relative_to(folder) for path in folder.rglob("*")}
    return {path for path in every if "tensorboard" not in path.parts[:-1]}


def command(_process: int, config: TrainingConfig, folder: Path) -> None:
    raise SystemExit(train_command(config, folder))
