"""A training in TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from dualhmr_training.pictures import Picture


class Board:
    """Scalars and pictures below a folder that TensorBoard watches."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """Goes on after `step`; what an earlier, killed training showed beyond it is hidden."""
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
