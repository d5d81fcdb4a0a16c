"""Running a training: devices and processes, the loop, history, TensorBoard, checkpoints."""

import contextlib
import gc
import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dualhmr.files import atomic_path, errors_name, write_text
from dualhmr.untrusted import brief, check_size, one_value_error, parse_json
from dualhmr.weights import save_weights
from dualhmr_training.checkpoints import latest_checkpoint, save_checkpoint
from dualhmr_training.contact_sheet import Picture
from dualhmr_training.dual import DualNetworks
from dualhmr_training.trainer import Trainer
from dualhmr_training.training_folder import check_record, write_record

DEVICES = ("auto", "cpu", "cuda")


def open_accelerator(device: str = "auto") -> Accelerator:
    """This process's accelerator; `auto` takes a GPU where there is one.

    Under torchrun or `accelerate launch` it joins the other processes, and `cuda` is the GPU of
    this one. Raises ValueError for an unknown device, RuntimeError where there is no GPU.
    """
    if device not in DEVICES:
        raise ValueError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise RuntimeError("this PyTorch sees no GPU to train on; leave the device out, or use cpu")
    # Precision is not Accelerate's business here, see `mixed_precision`.
    return Accelerator(cpu=device == "cpu" or not has_gpu, mixed_precision="no")


def close_accelerator(accelerator: Accelerator) -> None:
    """Leaves the process group. No reference to a `Trainer` may be left.

    A data-parallel module that outlives the process group destroys it in its own destructor, and
    then deadlocks: it holds the GIL and waits for a thread of gloo that waits for the GIL.
    """
    accelerator.free_memory()
    gc.collect()
    accelerator.end_training()


class History:
    """A file of JSON lines, a row for each report: the step, the time, and numbers by name."""

    def __init__(self, path: Path, *, step: int) -> None:
        """Continues after `step`.

        Removes later rows and a line that was cut short: they are from a training that was killed
        after its last checkpoint, and will be written again. Raises as `history_rows`.
        """
        self._path = path
        rows = history_rows(path) if path.is_file() else []
        kept = "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step)
        if rows and kept.encode() != path.read_bytes():
            write_text(path, kept)

    def append(self, step: int, row: Mapping[str, float]) -> None:
        """Adds a row."""
        line = json.dumps({"step": step, "time": time.time(), **row})
        with errors_name(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def history_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a history, without a last line that was cut short.

    Raises FileNotFoundError, or ValueError that names the file and the line that is damaged.
    """
    check_size(path.stat().st_size, _LARGEST_HISTORY)
    *lines, last = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        with one_value_error(path, f"line {number} is damaged"):
            rows.append(_history_row(line))
    with contextlib.suppress(ValueError):
        rows.append(_history_row(last))
    return rows


def _history_row(line: bytes) -> dict[str, float]:
    row = parse_json(line)
    numbers = isinstance(row, dict) and all(type(n) in (int, float) for n in row.values())
    if not numbers or "step" not in row:
        raise ValueError(f"{brief(row)}, expected the step and other numbers by name")
    return row


class Board:
    """Scalars and pictures below a folder that TensorBoard watches."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """Continues after `step`; TensorBoard hides what a killed training wrote beyond it."""
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, step: int, row: Mapping[str, float], picture: Picture | None) -> None:
        """Adds numbers by name, and a picture (H, W, 3)."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        if picture is not None:
            self._writer.add_image("people", picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Ends the writer's thread."""
        self._writer.close()


_CHECKPOINTS = "checkpoints"
_LARGEST_HISTORY = 1 << 28  # bytes
HISTORY = "history.jsonl"


class Validation(Protocol):
    """Errors and a picture of networks in training, which are in evaluation mode meanwhile."""

    def errors(self, networks: DualNetworks) -> dict[str, float]:
        """Numbers by name."""
        ...

    def picture(self, networks: DualNetworks) -> Picture:
        """The networks' bodies of a few people."""
        ...


def run_training(
    trainer: Trainer, out: Path, *, record: dict[str, Any], validation: Validation | None = None
) -> DualNetworks:
    """Trains up to `config.steps`, from the newest checkpoint in `out` where there is one.

    The first process writes `training.json` (see `record`), `checkpoints`, `history.jsonl`,
    `tensorboard` and, in the end, `main.safetensors` and `auxiliary.safetensors`.

    Raises ValueError where the checkpoint is damaged, or `out` holds another training.
    """
    checkpoint = latest_checkpoint(out / _CHECKPOINTS)
    if checkpoint is not None:
        check_record(out, record)
        trainer.restore(checkpoint)
    if trainer.accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        if checkpoint is None:
            write_record(out, record)
        with _Watch(trainer, out, validation) as watch:
            _train(trainer, watch)
        for name, network in trainer.trained.named_children():
            with atomic_path(out / f"{name}.safetensors") as path:
                save_weights(network, path)
    else:
        _train(trainer, None)
    trainer.accelerator.wait_for_everyone()
    return trainer.trained.eval()


class _Watch(AbstractContextManager["_Watch"]):
    """What the first process does besides: progress, reports, checkpoints."""

    def __init__(self, trainer: Trainer, out: Path, validation: Validation | None) -> None:
        self._trainer, self._out, self._validation = trainer, out, validation
        self._history = History(out / HISTORY, step=trainer.step)
        self._board = Board(out / "tensorboard", step=trainer.step)
        self._progress = tqdm(total=trainer.config.steps, initial=trainer.step, unit="step")

    def __exit__(self, *_: object) -> None:
        self._board.close()
        self._progress.close()

    def step(self) -> None:
        self._progress.update()

    def report(self, row: dict[str, float]) -> None:
        step, picture = self._trainer.step, None
        if self._validation is not None:
            networks = self._trainer.trained.eval()
            row |= self._validation.errors(networks)
            picture = self._validation.picture(networks)
        self._history.append(step, row)
        self._board.add(step, row, picture)
        self._progress.set_postfix({name: row[name] for name in row if name.endswith("/mpjpe")})

    def save(self) -> None:
        save_checkpoint(self._out / _CHECKPOINTS, self._trainer.checkpoint())


def _train(trainer: Trainer, watch: _Watch | None) -> None:
    config = trainer.config
    while trainer.step < config.steps:
        trainer.train_step()
        last = trainer.step == config.steps
        report = trainer.report() if last or trainer.step % config.validate_every == 0 else None
        if watch is None:
            continue
        watch.step()
        # The report first: were the process killed between the two, a resumed training would start
        # beyond a report that is not written.
        if report is not None:
            watch.report(report)
        if last or trainer.step % config.checkpoint_every == 0:
            watch.save()
