from dataclasses import asdict

import numpy as np
import pytest
import torch
from helpers.stick_figure import stick_figure
from torch import Tensor

from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import keypoint_regressor, skeleton_regressor
from dualhmr.camera import View
from dualhmr.keypoints import BODY_23, BODY_25, COCO_17, COCO_WHOLEBODY_133, KeypointSet
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Evidence, MeshTarget, Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rot6d_to_rotmat

NAMES = tuple(asdict(LossWeights()))
MESH_LOSSES = ("joints_3d", "vertices", "rotations", "betas")
both_cameras = pytest.mark.parametrize("camera", ["cliff", "hmr"])


@pytest.fixture(scope="module")
def body() -> Body:
    return stick_figure()


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def make_objective(
    body: Body,
    *,
    names: KeypointSet = BODY_23,
    camera: str = "cliff",
    weights: LossWeights | None = None,
) -> Objective:
    return Objective(
        body,
        keypoints=keypoint_regressor(body, names),
        keypoint_count=len(BODY_23),
        camera=camera,
        weights=weights or LossWeights(betas=0.5),
        joints=skeleton_regressor(body) + keypoint_regressor(body, BODY_23),
    )


def make_output(people: int, *, seed: int = 0) -> HeadOutput:
    upright = torch.tensor([[1.0, 0], [0, -1], [0, 0]]).flatten()
    others = torch.eye(3)[:, :2].flatten().repeat(23)
    pose = torch.cat([upright, others]) + 0.2 * normal(people, 144, seed=seed)
    camera = torch.tensor([0.9, 0.05, -0.1]) + 0.05 * normal(people, 3, seed=seed + 1)
    return HeadOutput(pose, normal(people, 10, seed=seed + 2), camera)


def make_view(people: int) -> View:
    return View(
        box_center=torch.tensor([[300.0, 200.0]]).double() + 40 * normal(people, 2, seed=5),
        box_height=torch.full((people,), 220.0).double() + 30 * normal(people, seed=6),
        focal_length=torch.full((people,), 900.0).double(),
        principal_point=torch.tensor([[320.0, 240.0]]).double().expand(people, 2),
    )


def make_evidence(
    objective: Objective, people: int, *, target: bool = True, names: KeypointSet = BODY_23
) -> Evidence:
    other = make_output(people, seed=20)
    confidence = torch.rand(people, len(names), generator=torch.Generator().manual_seed(7)).double()
    confidence[:, 3] = 0
    return Evidence(
        keypoints=0.5 * normal(people, len(names), 2, seed=8),
        confidence=confidence,
        view=make_view(people),
        target=objective.target(matrices(other), other.betas) if target else None,
    )


def matrices(output: HeadOutput) -> Tensor:
    return rot6d_to_rotmat(output.pose_6d.unflatten(1, (24, 6)))


def person(evidence: Evidence, i: int) -> Evidence:
    one = slice(i, i + 1)
    target = evidence.target
    assert target is not None
    return Evidence(
        evidence.keypoints[one],
        evidence.confidence[one],
        View(*(part[one] for part in evidence.view)),
        MeshTarget(*(None if part is None else part[one] for part in target)),
    )


@both_cameras
def test_derivatives(body: Body, camera: str) -> None:
    objective = make_objective(body, camera=camera)
    evidence = make_evidence(objective, 1)

    def losses(*parts: Tensor) -> Tensor:
        return torch.stack(list(objective.losses(HeadOutput(*parts), evidence).values()))

    output = [part.clone().requires_grad_() for part in make_output(1)]
    assert torch.autograd.gradcheck(losses, output)


def written_out(
    body: Body, output: HeadOutput, evidence: Evidence, camera: str
) -> list[dict[str, float]]:
    """Every person's losses, unweighted, from the skinned mesh and with NumPy."""
    assert evidence.target is not None
    rows = keypoint_regressor(body, BODY_23)
    posed = skin(body, matrices(output), output.betas)
    on_skin = rows.from_mesh(*posed).numpy()
    joints = np.concatenate([posed.joints.numpy(), on_skin], axis=1)
    people = []
    for i in range(len(joints)):
        scale, x, y = output.camera[i].tolist()
        center, height, focal, principal = (part[i].numpy() for part in evidence.view)
        if camera == "cliff":
            offset = 2 * (center - principal) / (height * scale)
            shift = np.array([x + offset[0], y + offset[1], 2 * focal / (height * scale)])
            placed = on_skin[i] + shift
            pixels = focal * placed[:, :2] / placed[:, 2:] + principal
            crop = (pixels - center) / (np.array([0.75 * height, height]) / 2)
        else:
            placed = on_skin[i] + np.array([x, y, 2 * 5000 / (256 * scale)])
            crop = 5000 * placed[:, :2] / placed[:, 2:] / np.array([96, 128])
        target = MeshTarget(*(None if part is None else part[i] for part in evidence.target))
        hips = [side[i, [1, 2]].mean(0) for side in (joints, evidence.target.joints.numpy())]
        centred = (joints[i] - hips[0]) - (target.joints.numpy() - hips[1])
        error = (crop - evidence.keypoints[i].numpy()) ** 2
        assert target.vertices is not None
        people.append(
            {
                "keypoints_2d": (evidence.confidence[i].numpy()[:, None] * error).mean(),
                "joints_3d": (centred**2).mean(),
                "vertices": np.abs((posed.vertices[i] - target.vertices).numpy()).mean(),
                "rotations": ((matrices(output)[i] - target.rotations).numpy() ** 2).mean(),
                "betas": ((output.betas[i] - target.betas).numpy() ** 2).mean(),
                "camera": np.exp(-10 * scale) ** 2,
            }
        )
    return people


@both_cameras
def test_is_the_weighted_losses_computed_apart(body: Body, camera: str) -> None:
    weights = LossWeights(5.0, 4.0, 0.5, 1.5, 0.25, 2.0)
    objective = make_objective(body, camera=camera, weights=weights)
    output, evidence = make_output(3), make_evidence(objective, 3)
    losses = objective.losses(output, evidence)
    assert tuple(losses) == NAMES
    for i, expected in enumerate(written_out(body, output, evidence, camera)):
        for name, value in expected.items():
            weighted = asdict(weights)[name] * value
            assert losses[name][i].item() == pytest.approx(weighted, rel=1e-8), name
        total = sum(loss[i].item() for loss in losses.values())
        assert total == pytest.approx(
            sum(asdict(weights)[name] * value for name, value in expected.items()), rel=1e-8
        )


@pytest.mark.parametrize("absent", NAMES)
def test_losses_of_weight_zero_are_absent(body: Body, absent: str) -> None:
    objective = make_objective(body, weights=LossWeights(**{absent: 0.0}))
    losses = objective.losses(make_output(2), make_evidence(objective, 2))
    assert set(losses) == {*NAMES} - {absent}
    assert objective.losses(make_output(2), make_evidence(objective, 2), [absent]) == {}


def test_vertices_are_not_skinned_in_vain(body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = make_objective(body, weights=LossWeights(vertices=0.0))

    def refuse(*_: object) -> Tensor:
        raise AssertionError("skinned")

    monkeypatch.setattr("dualhmr.objective.objective.skin_vertices", refuse)
    evidence = make_evidence(objective, 1)
    assert evidence.target is not None
    assert evidence.target.vertices is None
    objective.losses(make_output(1), evidence)


def test_only_the_named_losses(body: Body) -> None:
    objective = make_objective(body)
    output, evidence = make_output(2), make_evidence(objective, 2)
    everything = objective.losses(output, evidence)
    some = objective.losses(output, evidence, ("camera", "joints_3d"))
    assert set(some) == {"camera", "joints_3d"}
    for name, loss in some.items():
        assert torch.equal(loss, everything[name])


@pytest.mark.parametrize("names", [["keypoints_2d", "keypoint_3d"], "camera"])
def test_unknown_losses_are_an_error(body: Body, names: list[str] | str) -> None:
    objective = make_objective(body)
    with pytest.raises(ValueError, match=r"unknown losses .*; known are keypoints_2d, joints_3d"):
        objective.losses(make_output(1), make_evidence(objective, 1), names)


def test_without_a_target_only_what_needs_none(body: Body) -> None:
    objective = make_objective(body)
    evidence = make_evidence(objective, 1, target=False)
    losses = objective.losses(make_output(1), evidence, ["keypoints_2d", "camera"])
    assert set(losses) == {"keypoints_2d", "camera"}
    for name in MESH_LOSSES:
        with pytest.raises(ValueError, match="the evidence has no target"):
            objective.losses(make_output(1), evidence, [name])
    with pytest.raises(ValueError, match="the evidence has no target"):
        objective.losses(make_output(1), evidence)


def test_a_target_without_vertices_is_an_error_where_they_count(body: Body) -> None:
    without = make_objective(body, weights=LossWeights(vertices=0.0))
    evidence = make_evidence(without, 1)
    with pytest.raises(ValueError, match="loss on vertices was asked for, but the target has none"):
        make_objective(body).losses(make_output(1), evidence)


@both_cameras
def test_a_person_alone_is_as_in_company(body: Body, camera: str) -> None:
    objective = make_objective(body, camera=camera)
    output, evidence = make_output(3), make_evidence(objective, 3)
    together = objective.losses(output, evidence)
    for i in range(3):
        alone = HeadOutput(*(part[i : i + 1] for part in output))
        for name, loss in objective.losses(alone, person(evidence, i)).items():
            torch.testing.assert_close(loss, together[name][i : i + 1], rtol=1e-12, atol=1e-14)


def test_a_mesh_is_at_no_distance_from_itself(body: Body) -> None:
    objective = make_objective(body)
    output = make_output(2)
    evidence = make_evidence(objective, 2)._replace(
        target=objective.target(matrices(output), output.betas)
    )
    losses = objective.losses(output, evidence)
    for name in MESH_LOSSES:
        assert losses[name].max() < 1e-28, name
    assert losses["keypoints_2d"].min() > 0


def test_where_keypoints_lie_that_are_missing_changes_nothing(body: Body) -> None:
    objective = make_objective(body)
    evidence = make_evidence(objective, 2)
    elsewhere = evidence.keypoints.clone()
    elsewhere[:, 3] = torch.nan
    output = make_output(2)
    first = objective.losses(output, evidence)["keypoints_2d"]
    second = objective.losses(output, evidence._replace(keypoints=elsewhere))["keypoints_2d"]
    assert torch.equal(first, second)


@pytest.mark.parametrize("larger", [BODY_23, BODY_25, COCO_WHOLEBODY_133])
def test_the_set_that_names_the_points_does_not_matter(body: Body, larger: KeypointSet) -> None:
    small = make_objective(body, names=COCO_17)
    evidence = make_evidence(small, 2, names=COCO_17)
    keypoints = torch.full((2, len(larger), 2), 0.3).double()
    confidence = torch.zeros(2, len(larger)).double()
    order = [larger.index(name) for name in COCO_17.names]
    keypoints[:, order], confidence[:, order] = evidence.keypoints, evidence.confidence
    renamed = evidence._replace(keypoints=keypoints, confidence=confidence)
    output = make_output(2)
    torch.testing.assert_close(
        make_objective(body, names=larger).losses(output, renamed),
        small.losses(output, evidence),
        rtol=1e-12,
        atol=1e-14,
    )


def test_keypoints_that_the_body_lacks_do_not_count(body: Body) -> None:
    objective = make_objective(body, names=KeypointSet("mine", ("nose", "face_3")))
    assert objective.available.tolist() == [True, False]
    output, view = make_output(1), make_view(1)

    def loss(keypoints: Tensor, confidence: Tensor) -> Tensor:
        evidence = Evidence(keypoints, confidence.double(), view, None)
        return objective.losses(output, evidence, ["keypoints_2d"])["keypoints_2d"]

    keypoints = normal(1, 2, 2, seed=0)
    moved = keypoints + torch.tensor([[0.0], [9.0]])
    assert loss(keypoints, torch.ones(1, 2)) == loss(moved, torch.ones(1, 2))
    assert loss(keypoints, torch.tensor([[0.0, 1.0]])) == 0


def test_points_are_the_keypoints_then_skeleton_and_extras(body: Body) -> None:
    objective = make_objective(body, names=COCO_17)
    output = make_output(2)
    target = objective.target(matrices(output), output.betas)
    posed = skin(body, matrices(output), output.betas)
    extras = keypoint_regressor(body, BODY_23).from_mesh(*posed)
    torch.testing.assert_close(target.joints, torch.cat([posed.joints, extras], dim=1))
    torch.testing.assert_close(target.vertices, posed.vertices)


def test_an_unknown_camera_is_an_error(body: Body) -> None:
    with pytest.raises(ValueError, match="unknown camera 'fisheye'; known are cliff, hmr"):
        make_objective(body, camera="fisheye")
