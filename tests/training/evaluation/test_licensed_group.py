"""The licensed data sets' test splits, on files in their format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.licensed_files import (
    FEMALE,
    MALE,
    NEUTRAL,
    joint_regressor,
    write_test_split,
)
from helpers.spin_files import everything

from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.body.model import Body, load_body, skin
from dualhmr.body.point_regressors import spin_24_regressor
from dualhmr.keypoints import BODY_25, SPIN_24
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rotmat_to_rot6d, rotvec_to_rotmat
from dualhmr_training.data.person_dataset import open_dataset
from dualhmr_training.evaluation.errors import PersonErrors, people_errors
from dualhmr_training.evaluation.groups import EvaluationBatch, EvaluationGroup
from dualhmr_training.evaluation.licensed import GroundTruthBodies, licensed_group
from dualhmr_training.evaluation.protocols import EVALUATION_PROTOCOLS

BODIES = GroundTruthBodies(joint_regressor(), {"m": MALE, "f": FEMALE})
WITHOUT_GENDER = GroundTruthBodies(joint_regressor(), {})


def opened(
    name: str,
    folder: Path,
    *,
    body: Body = NEUTRAL,
    bodies: GroundTruthBodies = BODIES,
    **options: Any,
) -> EvaluationGroup:
    return licensed_group(name, folder, body, bodies, **{"keypoints": "annotated", **options})


def all_of(group: EvaluationGroup) -> EvaluationBatch:
    """The people of a group that is small enough for one batch."""
    (batch,) = group.batches
    return batch


def objective_on(body: Body) -> Objective:
    """Of the 24 annotated keypoints."""
    return Objective(
        body,
        keypoints=spin_24_regressor(body),
        keypoint_count=24,
        camera="cliff",
        weights=LossWeights(),
    )


def errors_of_rest_pose(group: EvaluationGroup, batch: EvaluationBatch) -> list[PersonErrors]:
    """Of a network that makes everybody stand in the rest pose, as the neutral body."""
    pose = torch.eye(3)[:, :2].reshape(1, 6).repeat(1, 24)
    output = HeadOutput(pose, torch.zeros(1, 10), torch.tensor([[1.0, 0.0, 0.0]]))
    results = [AdaptationResult(0, (1.0,), (output,), "max_steps")] * group.count
    return people_errors(results, batch, objective_on(NEUTRAL), group.joints, after=[0])


@pytest.mark.parametrize("name", ["human36m", "threedpw"])
def test_the_truth_is_the_mesh_of_the_gender(tmp_path: Path, name: str) -> None:
    arrays = write_test_split(tmp_path, name)
    group = opened(name, tmp_path)
    batch = all_of(group)
    assert (group.count, len(group.joints.names)) == (3, 14)
    assert batch.truth.vertices is not None
    rotations = rotvec_to_rotmat(torch.from_numpy(arrays["pose"]).float().unflatten(1, (24, 3)))
    betas = torch.from_numpy(arrays["shape"]).float()
    for person, body in enumerate((MALE, FEMALE, MALE)):
        own = slice(person, person + 1)
        (vertices,) = skin(body, rotations[own], betas[own]).vertices
        torch.testing.assert_close(batch.truth.vertices[person], vertices)
        joints = torch.stack([row @ vertices for row in joint_regressor()])
        torch.testing.assert_close(batch.truth.joints[person], joints)


def test_a_recovery_that_is_the_truth_has_no_error(tmp_path: Path) -> None:
    arrays = write_test_split(tmp_path, "threedpw", gender=np.array(["m", "m", "m"]))
    group = opened("threedpw", tmp_path, body=MALE)
    batch = all_of(group)
    rotvecs = torch.from_numpy(arrays["pose"]).float().unflatten(1, (24, 3))
    pose = rotmat_to_rot6d(rotvec_to_rotmat(rotvecs)).flatten(1)
    betas, camera = torch.from_numpy(arrays["shape"]).float(), torch.tensor([[1.0, 0, 0]])
    results = [
        AdaptationResult(0, (1.0,), (HeadOutput(pose[[i]], betas[[i]], camera),), "converged")
        for i in range(3)
    ]
    found = people_errors(results, batch, objective_on(MALE), group.joints, after=[0])
    for errors in found:
        for name in ("mpjpe_mm", "pa_mpjpe_mm", "pve_mm", "pve_centred_mm"):
            assert errors.measures[name][0] < 1e-2
        assert "true_2d_percent" not in errors.measures


def test_errors_against_annotated_joints_the_long_way(tmp_path: Path) -> None:
    arrays = write_test_split(tmp_path, "mpi_inf_3dhp")
    group = opened("mpi_inf_3dhp", tmp_path, bodies=WITHOUT_GENDER)
    batch = all_of(group)
    assert batch.truth.vertices is None
    rest = skin(NEUTRAL, torch.eye(3).repeat(1, 24, 1, 1), torch.zeros(1, 10)).vertices[0]
    regressed = (joint_regressor() @ rest).double().numpy()
    protocol = EVALUATION_PROTOCOLS["mpi_inf_3dhp"]
    assert protocol.annotated is not None
    for person, errors in enumerate(errors_of_rest_pose(group, batch)):
        true = arrays["S"][person, :, :3]
        distances = [
            np.linalg.norm((regressed[row] - regressed[0]) - (true[other] - true[14]))
            for row, other in zip(protocol.counted, protocol.annotated, strict=True)
        ]
        np.testing.assert_allclose(errors.joints_mm[0], 1000 * np.array(distances), rtol=1e-5)
        assert errors.measures["mpjpe_mm"][0] == pytest.approx(1000 * np.mean(distances), rel=1e-5)
        assert not {"pve_mm", "pve_centred_mm"} & errors.measures.keys()


def test_errors_against_meshes_the_long_way(tmp_path: Path) -> None:
    write_test_split(tmp_path, "human36m")
    group = opened("human36m", tmp_path)
    batch = all_of(group)
    assert batch.truth.vertices is not None
    rest = skin(NEUTRAL, torch.eye(3).repeat(1, 24, 1, 1), torch.zeros(1, 10)).vertices[0]
    for person, errors in enumerate(errors_of_rest_pose(group, batch)):
        found, true = (joint_regressor() @ mesh for mesh in (rest, batch.truth.vertices[person]))
        rows = list(EVALUATION_PROTOCOLS["human36m"].counted)
        distances = ((found - found[0]) - (true - true[0])).norm(dim=1)[rows]
        np.testing.assert_allclose(errors.joints_mm[0], 1000 * distances.numpy(), rtol=1e-4)
        off = (rest - batch.truth.vertices[person]).double().numpy()
        centred = off - (found[0] - true[0]).double().numpy()
        for name, distance in (("pve_mm", off), ("pve_centred_mm", centred)):
            expected = 1000 * np.sqrt((distance**2).sum(1)).mean()
            assert errors.measures[name][0] == pytest.approx(expected, rel=1e-4)
        assert abs(errors.measures["pve_mm"][0] - errors.measures["pve_centred_mm"][0]) > 0.1


def test_which_keypoints_are_given(tmp_path: Path) -> None:
    write_test_split(tmp_path, "mpi_inf_3dhp")
    samples = open_dataset("mpi_inf_3dhp", tmp_path, "test", boxes="keypoints")
    for keypoints, names, part in (
        ("annotated", SPIN_24, slice(25, 49)),
        ("openpose", BODY_25, slice(0, 25)),
    ):
        group = opened("mpi_inf_3dhp", tmp_path, bodies=WITHOUT_GENDER, keypoints=keypoints)
        batch = all_of(group)
        assert (group.keypoints, group.keypoint_set) == (keypoints, names)
        assert batch.image is not None
        for person in range(3):
            sample = samples[person]
            assert torch.equal(batch.evidence.keypoints[person], sample.keypoints[part])
            assert torch.equal(batch.evidence.confidence[person], sample.confidence[part])
            assert torch.equal(batch.image[person], sample.image)
            for got, expected in zip(batch.evidence.view, sample.view, strict=True):
                assert torch.equal(got[person], expected)


@pytest.mark.parametrize(
    ("count", "expected"), [(None, range(5)), (9, range(5)), (3, (0, 2, 4)), (1, (0,))]
)
def test_people_are_spread_evenly(
    tmp_path: Path, count: int | None, expected: tuple[int, ...]
) -> None:
    arrays = write_test_split(tmp_path, "mpi_inf_3dhp", count=5)
    group = opened("mpi_inf_3dhp", tmp_path, bodies=WITHOUT_GENDER, count=count)
    truth = all_of(group).truth.joints
    assert group.count == len(truth) == len(expected)
    for found, person in zip(truth, expected, strict=True):
        head, pelvis = arrays["S"][person, 18, :3], arrays["S"][person, 14, :3]
        np.testing.assert_allclose(found[10], head - pelvis, rtol=0, atol=1e-5)


def test_annotations_of_another_name(tmp_path: Path) -> None:
    write_test_split(tmp_path, "threedpw")
    usual, other = tmp_path / "3dpw_test.npz", tmp_path / "elsewhere" / "my_3dpw.npz"
    other.parent.mkdir()
    usual.rename(other)
    assert opened("threedpw", tmp_path, annotations=other).count == 3
    with pytest.raises(FileNotFoundError, match=r"3DPW: no annotations at .*3dpw_test\.npz"):
        opened("threedpw", tmp_path)


def without_confidence(person: int, joint: int) -> Any:
    joints = everything()["S"].copy()
    joints[person, joint, 3] = 0
    return joints


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("threedpw", {"gender": None}, "annotations of 3DPW lack gender; its truth is the mesh"),
        ("human36m", {"has_smpl": np.array([1, 0, 0])}, "lack pose and shape of person 1 .2 of 3"),
        ("human36m", {"pose": None}, "lack pose and shape of person 0 .3 of 3 such.: there is no"),
        ("mpi_inf_3dhp", {"S": None}, "of MPI-INF-3DHP lack 3D joints S of person 0 .3 of 3"),
        ("mpi_inf_3dhp", {"S": without_confidence(2, 17)}, "lack 3D joints S of person 2 .1 of 3"),
    ],
)
def test_people_without_truth_are_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    write_test_split(tmp_path, name, **changes)
    with pytest.raises(ValueError, match=message):
        opened(name, tmp_path)


def test_joints_that_do_not_count_may_lack(tmp_path: Path) -> None:
    # The thorax, row 15, is no part of the protocol.
    write_test_split(tmp_path, "mpi_inf_3dhp", S=without_confidence(2, 15))
    assert opened("mpi_inf_3dhp", tmp_path).count == 3


def test_a_regressor_of_another_mesh(tmp_path: Path) -> None:
    write_test_split(tmp_path, "threedpw")
    message = "the joint regressor has 40 vertices, but body 'dualhmr-free-body' has 6872"
    with pytest.raises(ValueError, match=message):
        opened("threedpw", tmp_path, body=load_body())
    bodies = GroundTruthBodies(joint_regressor(), {"m": MALE, "f": load_body()})
    with pytest.raises(ValueError, match=message):
        opened("threedpw", tmp_path, bodies=bodies)
