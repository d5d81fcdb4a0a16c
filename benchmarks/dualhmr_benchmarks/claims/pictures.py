"""Pictures beside the tables: step strips of test people, and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualhmr.adaptation.adapt import AdaptationResult
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.networks import HeadOutput
from dualhmr.rendering.pictures import blank, write_png, write_words
from dualhmr_benchmarks.claims.experiments.populations import QUALITIES
from dualhmr_benchmarks.claims.experiments.rates import chosen_rate
from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_benchmarks.claims.experiments.trainings import Training, obstacle, training_folder
from dualhmr_benchmarks.claims.experiments.trials import (
    EFT,
    TRAINED,
    Trial,
    evaluated_people,
    fitter_for,
    schedule_of,
    trained_with,
)
from dualhmr_training.batches import Batch
from dualhmr_training.contact_sheet import Picture, contact_sheet, dot_keypoints
from dualhmr_training.evaluation.errors import best_so_far
from dualhmr_training.evaluation.groups import EvaluationBatch
from dualhmr_training.training_folder import open_networks

_WORDS_HEIGHT = 26


def side_by_side(columns: Mapping[str, Sequence[Picture]]) -> Picture:
    """One picture of crops (256, 192, 3) by the words above their column; a row for each person."""
    stacked = [
        np.concatenate([write_words(blank(_WORDS_HEIGHT, CROP_WIDTH), words), *crops])
        for words, crops in columns.items()
    ]
    return np.concatenate(stacked, axis=1)


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
    (people,) = group.batches
    adapter = fitter_for(networks, group, trial)
    schedule = schedule_of(trial, trained_with(folder), chosen_rate(setting, trial))
    (courses,) = adapter.adapt(people, [schedule])
    outputs = [_returned_after(number, courses) for number in (*_STEPS, schedule.max_steps)]
    columns = _columns(people, contact_sheet(outputs, adapter.objective, _as_batch(people)))
    words = ["input", *(f"step {number}" for number in _STEPS), "final"]
    return side_by_side(dict(zip(words, columns, strict=True)))


def _returned_after(steps: int, courses: Sequence[AdaptationResult]) -> HeadOutput:
    """Everybody's best iterate so far."""
    outputs = [course.outputs[best_so_far(course.loss_history, steps)[steps]] for course in courses]
    parts = [output for output in outputs if isinstance(output, HeadOutput)]
    return HeadOutput(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _as_batch(people: EvaluationBatch) -> Batch:
    assert people.image is not None
    return Batch({"image": people.image}, people.evidence, people.evidence)


def _columns(people: EvaluationBatch, sheet: Picture) -> list[list[Picture]]:
    """The people's crops: the input's, then those of each row of a contact sheet."""
    assert people.image is not None
    crops = sheet.reshape(-1, CROP_HEIGHT, len(people.image), CROP_WIDTH, 3)
    return [list(column) for column in (people.image.numpy(), *crops.transpose(0, 2, 1, 3, 4))]


_PICTURED = 3
_TRUE, _GIVEN = (255, 255, 255), (255, 90, 20)


def write_population_picture(setting: Setting, trial: Trial, out: Path) -> Mapping[str, str]:
    """Writes `people.png`: a row for each person, the look and each quality beside each other.

    True positions are small and white, what is seen or given is larger and orange.
    """
    people = {quality: _people(setting, replace(trial, quality=quality)) for quality in QUALITIES}
    first = next(iter(people.values()))
    assert first.observed is not None
    columns = {"look": _crops(first, *first.observed)}
    for quality, each in people.items():
        known = each.evidence
        columns[f"keypoints: {quality}"] = _crops(each, known.keypoints, known.confidence)
    write_png(out / "people.png", side_by_side(columns))
    return {"people.png": "white: true keypoints; orange: what is seen, or given"}


def _people(setting: Setting, trial: Trial) -> EvaluationBatch:
    (people,) = evaluated_people(setting, trial, _PICTURED, pictures=True).batches
    return people


def _crops(people: EvaluationBatch, keypoints: Tensor, confidence: Tensor) -> list[Picture]:
    assert people.image is not None
    assert people.truth.keypoints is not None
    crops = []
    for person, image in enumerate(people.image):
        crop = image.numpy().copy()
        dot_keypoints(crop, keypoints[person][confidence[person] > 0], colour=_GIVEN, radius=3)
        dot_keypoints(crop, people.truth.keypoints[person], colour=_TRUE)
        crops.append(crop)
    return crops
