"""What is known of a few test people: the look that networks see, and given keypoints."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from dualhmr.rendering.pictures import write_png
from dualhmr_benchmarks.accuracy.claims.columns import side_by_side
from dualhmr_benchmarks.accuracy.experiments.running import evaluated_people
from dualhmr_benchmarks.accuracy.experiments.setting import Setting
from dualhmr_benchmarks.accuracy.experiments.trials import Trial
from dualhmr_benchmarks.accuracy.experiments.world import QUALITIES
from dualhmr_training.evaluation.subjects import Subjects
from dualhmr_training.pictures import Picture, draw_dots

_PEOPLE = 3
_TRUE, _GIVEN = (255, 255, 255), (255, 90, 20)


def write_world(setting: Setting, trial: Trial, out: Path) -> Mapping[str, str]:
    """Writes `people.png`: a row for each person, the look and each quality beside each other.

    True positions are small and white, what is seen or given is larger and orange.
    """
    people = {quality: _people(setting, replace(trial, quality=quality)) for quality in QUALITIES}
    first = next(iter(people.values()))
    assert first.seen is not None
    columns = {"look": _crops(first, *first.seen)}
    for quality, each in people.items():
        known = each.known
        columns[f"keypoints: {quality}"] = _crops(each, known.keypoints, known.confidence)
    write_png(out / "people.png", side_by_side(columns))
    return {"people.png": "white: true keypoints; orange: what is seen, or given"}


def _people(setting: Setting, trial: Trial) -> Subjects:
    (subjects,) = evaluated_people(setting, trial, _PEOPLE, pictures=True).batches
    return subjects


def _crops(people: Subjects, keypoints: Tensor, confidence: Tensor) -> list[Picture]:
    assert people.image is not None
    assert people.truth.keypoints is not None
    crops = []
    for person, image in enumerate(people.image):
        crop = image.numpy().copy()
        draw_dots(crop, keypoints[person][confidence[person] > 0], colour=_GIVEN, reach=2)
        draw_dots(crop, people.truth.keypoints[person], colour=_TRUE)
        crops.append(crop)
    return crops
