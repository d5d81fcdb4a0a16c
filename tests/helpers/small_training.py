"""Folders of finished trainings with small networks, for tests: otherwise like real ones."""

from dataclasses import replace
from pathlib import Path

from dualhmr.weights import save_weights
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.training_folder import training_record, write_record
from helpers.small_bundle import SPEC, upright
from helpers.tiny_training import ORDINARY, TINY, small_body

CONFIG = replace(TINY, main=SPEC, auxiliary=SPEC)
ALONE = replace(ORDINARY, main=SPEC, auxiliary=None)
ROLES = ("main", "auxiliary")


def write_training(folder: Path, config: TrainingConfig = CONFIG, *, first_seed: int = 1) -> Path:
    """What `dualhmr train` leaves; at the first seed 1 with the weights of `write_small_bundle`."""
    folder.mkdir()
    write_record(folder, training_record(config, small_body()))
    for seed, role in enumerate(ROLES, first_seed):
        if getattr(config, role) is not None:
            save_weights(upright(getattr(config, role), seed), folder / f"{role}.safetensors")
    return folder
