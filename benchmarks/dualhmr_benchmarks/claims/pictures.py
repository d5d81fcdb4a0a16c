"""Pictures beside the tables: strips of steps, and test people with their keypoints."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.networks import HeadOutput
from dualhmr.rendering.pictures import blank, write_png, write_words
from dualhmr_benchmarks.claims.experiments.evaluations import chosen_rate
from dualhmr_benchmarks.claims.experiments.experiment import (
    EFT,
    TRAINED,
    Experiment,
    evaluated_people,
    fitter_for,
    schedule_of,
    trained_with,
)
from dualhmr_benchmarks.claims.experiments.populations import QUALITIES
from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_benchmarks.claims.experiments.trainings import (
    TrainingRun,
    training_failure,
    training_folder,
)
from dualhmr_training.batches import Batch
from dualhmr_training.contact_sheet import Picture, contact_sheet, dot_keypoints
from dualhmr_training.evaluation.errors import returned_iterates
from dualhmr_training.evaluation.groups import EvaluationBatch
from dualhmr_training.training_folder import open_networks

STRIP_EXPERIMENTS = (Experiment("cliff_dual", TRAINED), Experiment("cliff_ordinary", EFT))
_STRIP_PEOPLE, _STRIP_STEPS = 5, (0, 1, 2, 3, 4)
_PICTURED_PEOPLE = 3
_CAPTION_HEIGHT = 26
_TRUE_COLOUR, _OBSERVED_COLOUR = (255, 255, 255), (255, 90, 20)


def write_strips(setting: Setting, out: Path) -> Mapping[str, str]:
    """Writes a picture for each of `STRIP_EXPERIMENTS`: a row for each person, a column a step."""
    facts = {}
    for experiment in STRIP_EXPERIMENTS:
        name = f"strips_{experiment.recipe}.png"
        if found := training_failure(setting, TrainingRun(experiment.recipe, setting.seeds[0])):
            facts[name] = f"not drawn; {found}"
            continue
        write_png(out / name, _strips(setting, experiment))
        facts[name] = f"{experiment.recipe}, adapted by {experiment.schedule}, first seed"
    return facts


def _strips(setting: Setting, experiment: Experiment) -> Picture:
    folder = training_folder(setting, TrainingRun(experiment.recipe, setting.seeds[0]))
    group = evaluated_people(setting, experiment, _STRIP_PEOPLE, ("image",))
    (people,) = group.batches
    assert people.image is not None
    fitter = fitter_for(open_networks(folder), group, experiment)
    rate = chosen_rate(setting, experiment)
    schedule = schedule_of(experiment, trained_with(folder), rate)
    (results,) = fitter.adapt(people, [schedule])
    outputs = [
        _returned_after(steps, results, schedule.iterate)
        for steps in (*_STRIP_STEPS, schedule.max_steps)
    ]
    batch = Batch({"image": people.image}, people.evidence, people.evidence)
    sheet = contact_sheet(outputs, fitter.objective, batch)
    # The sheet has a row for each of `outputs` and people side by side; here each is a column.
    by_output = sheet.reshape(len(outputs), CROP_HEIGHT, -1, CROP_WIDTH, 3).transpose(0, 2, 1, 3, 4)
    captions = ["input", *(f"step {steps}" for steps in _STRIP_STEPS), "final"]
    columns = zip(captions, (people.image.numpy(), *by_output), strict=True)
    return _captioned_columns({caption: list(crops) for caption, crops in columns})


def _returned_after(steps: int, results: Sequence[AdaptationResult], iterate: str) -> HeadOutput:
    """The iterate of every person that is returned then."""
    outputs = [
        each.outputs[returned_iterates(each.loss_history, steps, iterate=iterate)[steps]]
        for each in results
    ]
    parts = [output for output in outputs if isinstance(output, HeadOutput)]
    return HeadOutput(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def write_population_picture(
    setting: Setting, experiment: Experiment, out: Path
) -> Mapping[str, str]:
    """Writes `people.png`: a row for each person; columns of the appearance and of each quality.

    True keypoints are small and white, observed ones are larger and orange.
    """
    columns = {}
    for quality in QUALITIES:
        tested = replace(experiment, quality=quality)
        (people,) = evaluated_people(setting, tested, _PICTURED_PEOPLE, ("image",)).batches
        # The appearance is the same for all qualities.
        assert people.observed is not None
        columns["look"] = _marked_crops(people, *people.observed)
        observed = people.evidence.keypoints, people.evidence.confidence
        columns[f"keypoints: {quality}"] = _marked_crops(people, *observed)
    write_png(out / "people.png", _captioned_columns(columns))
    return {"people.png": "white: true keypoints; orange: what is seen, or given"}


def _marked_crops(people: EvaluationBatch, keypoints: Tensor, confidence: Tensor) -> list[Picture]:
    assert people.image is not None
    assert people.truth.keypoints is not None
    crops = []
    for person, image in enumerate(people.image):
        crop = image.numpy().copy()
        reported = keypoints[person][confidence[person] > 0]
        dot_keypoints(crop, reported, colour=_OBSERVED_COLOUR, radius=3)
        dot_keypoints(crop, people.truth.keypoints[person], colour=_TRUE_COLOUR)
        crops.append(crop)
    return crops


def _captioned_columns(columns: Mapping[str, Sequence[Picture]]) -> Picture:
    """One picture of columns of crops (256, 192, 3), each below its caption."""
    stacked = [
        np.concatenate([write_words(blank(_CAPTION_HEIGHT, CROP_WIDTH), caption), *crops])
        for caption, crops in columns.items()
    ]
    return np.concatenate(stacked, axis=1)
