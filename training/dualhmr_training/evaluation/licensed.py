"""People of the licensed data sets to evaluate on, which users bring."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch.utils.data import default_collate

from dualhmr.body import Body
from dualhmr.objective import Evidence
from dualhmr_training.datasets import PersonDataset, open_dataset
from dualhmr_training.evaluation.choices import KEYPOINTS
from dualhmr_training.evaluation.licensed_truth import (
    TrueBodies,
    check_truth,
    human36m_joints,
    truth_of,
)
from dualhmr_training.evaluation.subjects import AT_ONCE, Group, Subjects
from dualhmr_training.samples import Sample


def licensed_group(
    name: str,
    root: Path,
    body: Body,
    bodies: TrueBodies,
    *,
    keypoints: str,
    count: int | None = None,
    annotations: Path | None = None,
) -> Group:
    """The test split of data set `name` in its folder `root`, or `count` of its people.

    They are spread evenly. `body` is the one that is recovered; `keypoints` one of `KEYPOINTS`.
    Boxes are those of training, around the annotated keypoints where there are any. Raises what
    `open_dataset` does, and ValueError for people whose truth is not known.
    """
    dataset = open_dataset(name, root, "test", annotations=annotations, boxes="keypoints")
    chosen = _spread(len(dataset), count)
    check_truth(dataset, chosen, bodies)
    keypoint_set, part = KEYPOINTS[keypoints]
    return Group(
        keypoints=keypoints,
        keypoint_set=keypoint_set,
        joints=human36m_joints(body, bodies.joint_regressor, name),
        count=len(chosen),
        batches=_batches(dataset, chosen, bodies, part),
    )


def _spread(count: int, wanted: int | None) -> list[int]:
    if wanted is None or wanted >= count:
        return list(range(count))
    return np.linspace(0, count - 1, wanted).round().astype(int).tolist()


def _batches(
    dataset: PersonDataset, chosen: list[int], bodies: TrueBodies, part: slice
) -> Iterator[Subjects]:
    for start in range(0, len(chosen), AT_ONCE):
        persons = chosen[start : start + AT_ONCE]
        samples: Sample = default_collate([dataset[person] for person in persons])
        genders = [dataset.gender(person) for person in persons]
        yield Subjects(
            image=samples.image,
            known=Evidence(
                samples.keypoints[:, part], samples.confidence[:, part], samples.view, None
            ),
            truth=truth_of(dataset.spec.name, samples, genders, bodies),
        )
