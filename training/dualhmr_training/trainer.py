"""The training loop: one process or several, resumable, the same curve either way."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from dualhmr.plain_data import from_plain
from dualhmr_training.batches import Batch
from dualhmr_training.checkpoints import (
    Checkpoint,
    latest_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
    tensors_of,
)
from dualhmr_training.configuration import OptimiserConfig, TrainingConfig
from dualhmr_training.dual import DualNetworks

Validate = Callable[[DualNetworks], dict[str, float]]


class Batches(Protocol):
    """Where batches come from: a function of the step."""

    def batch(self, step: int, count: int, *, process: int, processes: int) -> Batch:
        """One process's share of the `count` persons of a step: every `processes`-th of them."""
        ...


class Trainer:
    """Trains `DualNetworks`. Under torchrun or `accelerate launch` every process holds one."""

    def __init__(
        self,
        config: TrainingConfig,
        networks: DualNetworks,
        batches: Batches,
        *,
        out: Path | None = None,
        validate: Validate | None = None,
        cpu: bool = True,
    ) -> None:
        """Goes on from the newest checkpoint in `out`, where there is one.

        Raises ValueError where that checkpoint is damaged or of another configuration, and where
        the batch does not divide among the processes.
        """
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=config.precision)
        if config.batch % self.accelerator.num_processes:
            raise ValueError(
                f"a batch of {config.batch} does not divide among "
                f"{self.accelerator.num_processes} processes"
            )
        self.config, self.networks = config, networks
        self.step = 0
        self._batches, self._out, self._validate = batches, out, validate
        optimiser = torch.optim.Adam(networks.parameters(), lr=config.optimiser.learning_rate)
        self._average = (
            None
            if config.ema_decay is None
            else AveragedModel(networks, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        )
        checkpoint = None if out is None else latest_checkpoint(out / "checkpoints")
        if checkpoint is not None:
            self._restore(checkpoint, optimiser)
        self._module, self._optimiser = self.accelerator.prepare(networks, optimiser)

    @property
    def trained(self) -> DualNetworks:
        """The networks, with averaged weights where an average was asked for."""
        averaged = None if self._average is None else self._average.module
        return averaged if isinstance(averaged, DualNetworks) else self.networks

    def run(self) -> DualNetworks:
        """Trains up to `config.steps`; writes checkpoints and `history.jsonl` into `out`."""
        watched: list[dict[str, float]] = []
        progress = tqdm(
            total=self.config.steps,
            initial=self.step,
            disable=not self.accelerator.is_main_process or self._out is None,
            unit="step",
        )
        with progress:
            while self.step < self.config.steps:
                watched.append(self.train_step())
                progress.update()
                last = self.step == self.config.steps
                if last or self.step % self.config.validate_every == 0:
                    row = self._report(watched)
                    progress.set_postfix({name: row[name] for name in row if "mpjpe" in name})
                    watched.clear()
                if last or self.step % self.config.checkpoint_every == 0:
                    self.save()
        return self.trained.eval()

    def train_step(self) -> dict[str, float]:
        """One step of the outer problem; this process's mean losses.

        Raises FloatingPointError for a loss that is not finite, before any weight is changed.
        """
        self._module.train()
        for group in self._optimiser.param_groups:
            group["lr"] = _rate(self.config.optimiser, self.step, self.config.steps)
        batch = self._batches.batch(
            self.step,
            self.config.batch,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
        )
        with self.accelerator.autocast():
            losses: dict[str, Tensor] = self._module(batch)
        total = self.config.loss_scale * torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {self.step}: {losses}")
        self._optimiser.zero_grad()
        self.accelerator.backward(total)
        if self.config.optimiser.max_norm is not None:
            self.accelerator.clip_grad_norm_(
                self.networks.parameters(), self.config.optimiser.max_norm
            )
        self._optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self.networks)
        self.step += 1
        return {name: loss.item() for name, loss in losses.items()}

    def save(self) -> None:
        """Writes a checkpoint, where there is a folder for it; the first process does."""
        if self._out is None or not self.accelerator.is_main_process:
            return
        checkpoint = Checkpoint(
            self.step,
            tensors_of(self.networks),
            optimiser_tensors(self._optimiser),
            {} if self._average is None else tensors_of(self._average),
            json.loads(json.dumps(asdict(self.config))),
        )
        save_checkpoint(self._out / "checkpoints", checkpoint)

    def _restore(self, checkpoint: Checkpoint, optimiser: torch.optim.Optimizer) -> None:
        if from_plain(TrainingConfig, checkpoint.config) != self.config:
            raise ValueError(
                f"{self._out} holds a training of another configuration; resume with that one, or "
                "train into another folder"
            )
        self.networks.load_state_dict(checkpoint.weights)
        restore_optimiser(optimiser, checkpoint.optimiser)
        if self._average is not None:
            self._average.load_state_dict(checkpoint.average)
        self.step = checkpoint.step

    def _report(self, watched: list[dict[str, float]]) -> dict[str, float]:
        """The mean losses since the last report, and the validation, into the history."""
        row = {name: sum(row[name] for row in watched) / len(watched) for name in watched[0]}
        if self._validate is not None and self.accelerator.is_main_process:
            self.trained.eval()
            row |= self._validate(self.trained)
        if self._out is not None and self.accelerator.is_main_process:
            line = json.dumps({"step": self.step, "time": time.time(), **row})
            with (self._out / "history.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return row


def _rate(config: OptimiserConfig, step: int, steps: int) -> float:
    warm_up = min(1.0, (step + 1) / max(1, config.warm_up_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm_up * (config.final_rate + (config.learning_rate - config.final_rate) * cosine)
