"""The training step: one process or several, the same curve either way."""

import math
from dataclasses import asdict
from typing import Protocol, cast

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dualhmr.plain_data import from_plain
from dualhmr.untrusted import one_value_error
from dualhmr_training.batches import Batch
from dualhmr_training.checkpoints import (
    Checkpoint,
    RunningMeans,
    optimiser_tensors,
    restore_optimiser,
    tensors_of,
)
from dualhmr_training.configuration import OptimiserConfig, TrainingConfig, differences
from dualhmr_training.dual import DualNetworks


class Batches(Protocol):
    """Where batches come from: a function of the step."""

    def batch(self, step: int, count: int, *, process: int, processes: int) -> Batch:
        """One process's share of the `count` persons of a step: every `processes`-th of them."""
        ...


class Trainer:
    """Trains `DualNetworks`. Under torchrun or `accelerate launch` every process holds one.

    What a step does depends on the weights, the moments, the configuration and the step's number
    alone. For that it seeds torch's global generator, which dropout draws from, at every step.
    """

    def __init__(
        self,
        config: TrainingConfig,
        networks: DualNetworks,
        batches: Batches,
        *,
        accelerator: Accelerator,
    ) -> None:
        """Moves `networks` to the accelerator's device; `batches` and objective must be there.

        Raises ValueError where the batch does not divide among the processes.
        """
        if config.batch % accelerator.num_processes:
            raise ValueError(
                f"a batch of {config.batch} does not divide among "
                f"{accelerator.num_processes} processes"
            )
        self.config, self.accelerator = config, accelerator
        self.networks = networks.to(accelerator.device)
        self.step = 0
        self.running_means = RunningMeans()
        """Losses and the like since the last report."""
        self._batches = batches
        self._optimiser = torch.optim.Adam(
            networks.parameters(), lr=config.optimiser.learning_rate, fused=True
        )
        self._average = (
            None
            if config.ema_decay is None
            else AveragedModel(networks, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        )
        # Gradients are averaged over the processes by the module, so the optimiser can stay as it
        # is, and with it what checkpoints hold.
        self._module = accelerator.prepare_model(networks)

    @property
    def trained(self) -> DualNetworks:
        """The networks, with averaged weights where an average was asked for."""
        return self.networks if self._average is None else cast(DualNetworks, self._average.module)

    def train_step(self) -> dict[str, float]:
        """One step of the outer problem; the mean losses over all processes, by `network/loss`.

        Raises FloatingPointError, in every process alike and before any weight is changed, for a
        loss or a gradient that is not finite.
        """
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        batch = self._batches.batch(
            self.step, self.config.batch, process=process, processes=processes
        )
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * processes + process)
        self._module.train()
        losses: dict[str, Tensor] = self._module(batch)
        values = torch.stack(list(losses.values()))
        self._optimiser.zero_grad()
        self.accelerator.backward(self.config.loss_scale * values.sum())
        lengths = self._clip_gradients()
        means = self.accelerator.reduce(values.detach(), "mean").tolist()
        row = dict(zip(losses, means, strict=True)) | lengths
        if not all(map(math.isfinite, row.values())):
            raise FloatingPointError(f"step {self.step} has numbers that are not finite: {row}")
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.config.optimiser, self.step, self.config.steps)
        self._optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self.networks)
        self.step += 1
        self.running_means = self.running_means.plus(row)
        return row

    def report(self) -> dict[str, float]:
        """The means of what `train_step` returned since the last report."""
        row = self.running_means.means()
        self.running_means = RunningMeans()
        return row

    def checkpoint(self) -> Checkpoint:
        """What a training needs to go on from here."""
        return Checkpoint(
            self.step,
            tensors_of(self.networks),
            optimiser_tensors(self._optimiser),
            {} if self._average is None else tensors_of(self._average),
            asdict(self.config),
            self.running_means,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from `checkpoint`. ValueError where it is of another configuration."""
        differing = differences(from_plain(TrainingConfig, checkpoint.config), self.config)
        if differing:
            raise ValueError(
                f"there is a training of another configuration: {'; '.join(differing)}; go on "
                "with that one, or train into another folder"
            )
        with one_value_error("the checkpoint", "its tensors do not fit the networks"):
            self.networks.load_state_dict(checkpoint.weights)
            restore_optimiser(self._optimiser, checkpoint.optimiser)
            if self._average is not None:
                self._average.load_state_dict(checkpoint.average)
        self.step, self.running_means = checkpoint.step, checkpoint.running_means

    def _clip_gradients(self) -> dict[str, float]:
        """Clips each network's gradient on its own; returns the lengths before clipping.

        A bound on both together would shrink the auxiliary network's updates: the main network's
        gradient is the longer one, since it comes through the inner step.
        """
        bound = self.config.optimiser.max_norm
        return {
            f"{name}/gradient_norm": torch.nn.utils.clip_grad_norm_(
                network.parameters(), math.inf if bound is None else bound
            ).item()
            for name, network in self.networks.named_children()
        }


def learning_rate(config: OptimiserConfig, step: int, steps: int) -> float:
    """Adam's rate at the step with number `step` of `steps`, the first being 0."""
    warm_up = min(1.0, (step + 1) / max(1, config.warm_up_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm_up * (config.final_rate + (config.learning_rate - config.final_rate) * cosine)
