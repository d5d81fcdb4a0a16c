"""What is true of people in the licensed data sets, and which of their joints count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualhmr.body import Body, PointRegressor, skin
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.datasets import PersonDataset
from dualhmr_training.evaluation.protocols import (
    EVALUATION_PROTOCOLS,
    HUMAN36M_17,
    ROOT,
    annotated_joints,
)
from dualhmr_training.evaluation.subjects import ComparedJoints, Truth
from dualhmr_training.samples import Sample


@dataclass(frozen=True, eq=False)
class TrueBodies:
    """What it takes to know the true joints of a data set's people."""

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


def check_truth(dataset: PersonDataset, chosen: list[int], bodies: TrueBodies) -> None:
    """Raises ValueError where some of the `chosen` persons cannot be compared with the truth."""
    known, protocol = dataset.annotations, EVALUATION_PROTOCOLS[dataset.spec.name]
    title = dataset.spec.title
    if protocol.annotated is not None:
        told = (known.joints_3d_confidence[chosen][:, protocol.annotated] > 0).all(1)
        what = "3D joints S"
    else:
        for body in bodies.by_gender.values():
            _check_regressor(bodies.joint_regressor, body)
        if known.genders is None:
            raise ValueError(
                f"the annotations of {title} lack gender; its truth is the mesh of that gender"
            )
        told, what = known.has_mesh[chosen], "pose and shape"
    if not told.all():
        first = chosen[int(np.argmin(told))]
        raise ValueError(
            f"the annotations of {title} lack {what} of person {first} "
            f"({int((~told).sum())} of {len(chosen)} such): there is no truth to compare with"
        )


def truth_of(
    dataset: str, samples: Sample, genders: Sequence[str | None], bodies: TrueBodies
) -> Truth:
    """Of N persons: annotated joints, or the mesh of each one's gender."""
    protocol = EVALUATION_PROTOCOLS[dataset]
    if protocol.annotated is not None:
        joints = samples.joints_3d.new_zeros(len(samples.joints_3d), len(HUMAN36M_17), 3)
        joints[:, list(protocol.counted)] = annotated_joints(samples.joints_3d, protocol)
        return Truth(joints, vertices=None, keypoints=None)
    rotations = rotvec_to_rotmat(samples.rotvecs)
    meshes = [
        skin(bodies.by_gender[str(gender)], rotations[[person]], samples.betas[[person]]).vertices
        for person, gender in enumerate(genders)
    ]
    vertices = torch.cat(meshes)
    return Truth(bodies.joint_regressor @ vertices, vertices, keypoints=None)
