"""Test splits of the licensed data sets, with the true joints of their people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import PointRegressor
from dualhmr.objective.objective import Evidence
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.person_dataset import PersonDataset, Sample, open_dataset
from dualhmr_training.evaluation.groups import (
    BATCH_SIZE,
    ComparedJoints,
    EvaluationBatch,
    EvaluationGroup,
    GroundTruth,
)
from dualhmr_training.evaluation.protocols import (
    EVALUATION_PROTOCOLS,
    HUMAN36M_17,
    KEYPOINTS,
    ROOT,
    annotated_joints,
)


@dataclass(frozen=True, eq=False)
class GroundTruthBodies:
    """What the true joints of a data set's people are computed with."""

    joint_regressor: Tensor
    """(17, V) of `load_human36m_regressor`."""
    by_gender: Mapping[str, Body]
    """The bodies "m" and "f"; empty where the truth is annotated joints."""


def human36m_joints(body: Body, joint_regressor: Tensor, dataset: str) -> ComparedJoints:
    """The joints that count on a data set, regressed from the mesh of `body`.

    ValueError where the regressor (17, V) belongs to another mesh.
    """
    _check_regressor(joint_regressor, body)
    rows = joint_regressor.new_zeros(len(HUMAN36M_17), 24)
    points = PointRegressor(HUMAN36M_17, rows, joint_regressor)
    return ComparedJoints(points, root=ROOT, counted=EVALUATION_PROTOCOLS[dataset].counted)


def _check_regressor(joint_regressor: Tensor, body: Body) -> None:
    if joint_regressor.shape[1] != body.vertex_count:
        raise ValueError(
            f"the joint regressor has {joint_regressor.shape[1]} vertices, but body {body.name!r} "
            f"has {body.vertex_count}; they must be of the same mesh"
        )


def check_ground_truth(
    dataset: PersonDataset, chosen: list[int], bodies: GroundTruthBodies
) -> None:
    """Raises ValueError where some of the `chosen` persons cannot be compared with the truth."""
    annotations, protocol = dataset.annotations, EVALUATION_PROTOCOLS[dataset.spec.name]
    title = dataset.spec.title
    if protocol.annotated is not None:
        complete = (annotations.joints_3d_confidence[chosen][:, protocol.annotated] > 0).all(1)
        what = "3D joints S"
    else:
        for body in bodies.by_gender.values():
            _check_regressor(bodies.joint_regressor, body)
        if annotations.genders is None:
            raise ValueError(
                f"the annotations of {title} lack gender; its truth is the mesh of that gender"
            )
        complete, what = annotations.has_mesh[chosen], "pose and shape"
    if not complete.all():
        first = chosen[int(np.argmin(complete))]
        raise ValueError(
            f"the annotations of {title} lack {what} of person {first} "
            f"({int((~complete).sum())} of {len(chosen)} such): there is no truth to compare with"
        )


def ground_truth(
    dataset: str, samples: Sample, genders: Sequence[str | None], bodies: GroundTruthBodies
) -> GroundTruth:
    """Of N persons: annotated joints, or the mesh of each one's gender."""
    protocol = EVALUATION_PROTOCOLS[dataset]
    if protocol.annotated is not None:
        joints = samples.joints_3d.new_zeros(len(samples.joints_3d), len(HUMAN36M_17), 3)
        joints[:, list(protocol.counted)] = annotated_joints(samples.joints_3d, protocol)
        return GroundTruth(joints, vertices=None, keypoints=None)
    rotations = rotvec_to_rotmat(samples.rotvecs)
    meshes = [
        skin(bodies.by_gender[str(gender)], rotations[[person]], samples.betas[[person]]).vertices
        for person, gender in enumerate(genders)
    ]
    vertices = torch.cat(meshes)
    return GroundTruth(bodies.joint_regressor @ vertices, vertices, keypoints=None)


def licensed_group(
    name: str,
    root: Path,
    body: Body,
    bodies: GroundTruthBodies,
    *,
    keypoints: str,
    count: int | None = None,
    annotations: Path | None = None,
    crop: str = "dualhmr",
    focal_length: str = "diagonal",
) -> EvaluationGroup:
    """The test split of data set `name` in its folder `root`, or `count` of its people.

    They are spread evenly. `body` is the one that is recovered; `keypoints` one of `KEYPOINTS`.
    Boxes are those of training, around the annotated keypoints where there are any. Raises what
    `open_dataset` does, and ValueError for people whose truth is not annotations.
    """
    dataset = open_dataset(
        name,
        root,
        "test",
        annotations=annotations,
        boxes="keypoints",
        crop=crop,
        focal_length=focal_length,
    )
    chosen = _spread(len(dataset), count)
    check_ground_truth(dataset, chosen, bodies)
    keypoint_set, part = KEYPOINTS[keypoints]
    return EvaluationGroup(
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
    dataset: PersonDataset, chosen: list[int], bodies: GroundTruthBodies, part: slice
) -> Iterator[EvaluationBatch]:
    for start in range(0, len(chosen), BATCH_SIZE):
        persons = chosen[start : start + BATCH_SIZE]
        samples: Sample = default_collate([dataset[person] for person in persons])
        genders = [dataset.gender(person) for person in persons]
        yield EvaluationBatch(
            image=samples.image,
            evidence=Evidence(
                samples.keypoints[:, part], samples.confidence[:, part], samples.view, None
            ),
            truth=ground_truth(dataset.spec.name, samples, genders, bodies),
        )
