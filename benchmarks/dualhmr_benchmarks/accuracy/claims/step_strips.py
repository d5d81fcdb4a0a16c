"""Step strips of a few test people: Figure 4."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from dualhmr.adaptation import Course
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.networks import HeadOutput
from dualhmr.rendering.pictures import write_png
from dualhmr_benchmarks.accuracy.claims.columns import side_by_side
from dualhmr_benchmarks.accuracy.experiments.rates import chosen_rate
from dualhmr_benchmarks.accuracy.experiments.running import (
    adapter_for,
    evaluated_people,
    trained_with,
)
from dualhmr_benchmarks.accuracy.experiments.setting import Setting
from dualhmr_benchmarks.accuracy.experiments.trainings import Training, obstacle, training_folder
from dualhmr_benchmarks.accuracy.experiments.trials import EFT, TRAINED, Trial, schedule_of
from dualhmr_training.batches import Batch
from dualhmr_training.evaluation.errors import best_so_far
from dualhmr_training.evaluation.subjects import Subjects
from dualhmr_training.opened import open_networks
from dualhmr_training.pictures import Picture, contact_sheet

SHOWN = (Trial("cliff_dual", TRAINED), Trial("cliff_ordinary", EFT))
_PEOPLE = 5
_STEPS = (0, 1, 2, 3, 4)


def write_strips(setting: Setting, out: Path) -> Mapping[str, str]:
    """Writes a picture for each of `SHOWN`: a row for each person, the input and steps beside."""
    facts = {}
    for trial in SHOWN:
        name = f"strips_{trial.recipe}.png"
        if found := obstacle(setting, Training(trial.recipe, setting.seeds[0])):
            facts[name] = f"not drawn; {found}"
            continue
        write_png(out / name, _strips(setting, trial))
        facts[name] = f"{trial.recipe}, adapted by {trial.schedule}, first seed"
    return facts


def _strips(setting: Setting, trial: Trial) -> Picture:
    folder = training_folder(setting, Training(trial.recipe, setting.seeds[0]))
    networks = open_networks(folder)
    group = evaluated_people(setting, trial, _PEOPLE, pictures=True)
    (subjects,) = group.batches
    adapter = adapter_for(networks, group, trial)
    schedule = schedule_of(trial, trained_with(folder), chosen_rate(setting, trial))
    (courses,) = adapter.adapt(subjects, [schedule])
    outputs = [_returned_after(number, courses) for number in (*_STEPS, schedule.max_steps)]
    columns = _columns(subjects, contact_sheet(outputs, adapter.objective, _as_batch(subjects)))
    words = ["input", *(f"step {number}" for number in _STEPS), "final"]
    return side_by_side(dict(zip(words, columns, strict=True)))


def _returned_after(steps: int, courses: Sequence[Course]) -> HeadOutput:
    """Everybody's best iterate so far."""
    outputs = [course.outputs[best_so_far(course.loss_history, steps)[steps]] for course in courses]
    parts = [output for output in outputs if isinstance(output, HeadOutput)]
    return HeadOutput(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _as_batch(subjects: Subjects) -> Batch:
    assert subjects.image is not None
    return Batch({"image": subjects.image}, subjects.known, subjects.known)


def _columns(subjects: Subjects, sheet: Picture) -> list[list[Picture]]:
    """The people's crops: the input's, then those of each row of a contact sheet."""
    assert subjects.image is not None
    crops = sheet.reshape(-1, CROP_HEIGHT, len(subjects.image), CROP_WIDTH, 3)
    return [list(column) for column in (subjects.image.numpy(), *crops.transpose(0, 2, 1, 3, 4))]
