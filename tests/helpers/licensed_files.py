"""Test splits of the licensed data sets as the tests make them: files, bodies, a regressor."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr_training.data.licensed_sets import DATASETS
from helpers.body_file import write_body_file
from helpers.spin_files import Arrays, everything, write, write_images
from helpers.stick_figure import stick_figure

VERTICES = 40


def sized(size: float, name: str) -> Body:
    """A stick figure of another size."""
    body = stick_figure(dtype=torch.float32)
    return replace(body, v_template=size * body.v_template, name=name)


NEUTRAL, MALE, FEMALE = (
    sized(size, name) for size, name in ((1.0, "neutral"), (1.1, "male"), (0.9, "female"))
)


def joint_regressor() -> Tensor:
    """Rows (17, 40) that are means over vertices, as those of J_regressor_h36m.npy."""
    rows = torch.randn(17, VERTICES, generator=torch.Generator().manual_seed(5))
    return (3 * rows).softmax(1)


def write_test_split(folder: Path, name: str, *, count: int = 3, **changes: object) -> Arrays:
    """Writes annotations and images; `changes` replace arrays, or leave them out where None."""
    arrays = {
        key: array for key, array in (everything(count) | changes).items() if array is not None
    }
    write(folder / DATASETS[name].annotation_file("test"), arrays)
    write_images(folder, arrays)
    return arrays


def write_bodies(folder: Path) -> None:
    """SMPL_NEUTRAL.npz and so on, and J_regressor_h36m.npy."""
    for body, name in ((NEUTRAL, "NEUTRAL"), (MALE, "MALE"), (FEMALE, "FEMALE")):
        write_body_file(body, folder / f"SMPL_{name}.npz")
    np.save(folder / "J_regressor_h36m.npy", joint_regressor().numpy())
