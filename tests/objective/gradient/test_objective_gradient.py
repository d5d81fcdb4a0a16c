"""The closed form against autograd through `Objective.losses`, in double precision."""

from typing import Any

import pytest
import torch
from helpers.gradient_cases import (
    BODIES,
    CAMERAS,
    LOSSES,
    WEIGHTS,
    by_autograd,
    check_close,
    make_body,
    make_estimate,
    make_evidence,
    make_objective,
    moved,
    normal,
)
from torch import Tensor

from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import CAMERAS as CONVENTIONS
from dualhmr.camera import hmr_camera
from dualhmr.keypoints import COCO_17, COCO_WHOLEBODY_133, KeypointSet
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.gradient.points import Vertices
from dualhmr.objective.objective import Objective
from dualhmr.objective.weights import LossWeights

EXACT = 1e-9
any_body = pytest.mark.parametrize("body", BODIES)
any_camera = pytest.mark.parametrize("camera", CAMERAS)


@any_body
@any_camera
def test_all_losses_together(body: str, camera: str) -> None:
    objective = make_objective(body, camera)
    evidence, estimate = make_evidence(objective, 3), make_estimate(3)
    found = ObjectiveGradient(objective, evidence)(estimate)
    assert tuple(found[0]) == LOSSES
    check_close(found, by_autograd(objective, evidence, estimate), within=EXACT)


@any_body
@any_camera
@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_alone(body: str, camera: str, name: str) -> None:
    objective = make_objective(body, camera)
    evidence, estimate = make_evidence(objective, 2), make_estimate(2)
    found = ObjectiveGradient(objective, evidence)(estimate, [name])
    check_close(found, by_autograd(objective, evidence, estimate, [name]), within=EXACT)
    assert found[1].abs().max() > 0


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_poses_near_and_far_from_rest(scale: float) -> None:
    objective = make_objective("free")
    evidence, estimate = make_evidence(objective, 4), make_estimate(4, spread=scale)
    found = ObjectiveGradient(objective, evidence)(estimate)
    check_close(found, by_autograd(objective, evidence, estimate), within=EXACT)


@pytest.mark.parametrize(
    ("losses", "also"),
    [
        (["keypoints_2d"], None),
        (["keypoints_2d", "camera"], ()),
        (("joints_3d", "betas"), ["keypoints_2d", "vertices"]),
        (["vertices"], ["vertices", "camera"]),
        (None, ["camera"]),
    ],
)
def test_descends_on_some_and_evaluates_others(
    losses: list[str] | None, also: list[str] | None
) -> None:
    objective = make_objective()
    evidence, estimate = make_evidence(objective, 2), make_estimate(2)
    values, gradient = ObjectiveGradient(objective, evidence)(estimate, losses, also)
    expected = None if losses is None or also is None else {*losses, *also}
    assert list(values) == [name for name in LOSSES if expected is None or name in expected]
    everything, _ = by_autograd(objective, evidence, estimate)
    _, slope = by_autograd(objective, evidence, estimate, losses)
    check_close((values, gradient), ({n: everything[n] for n in values}, slope), within=EXACT)


def test_with_everything_that_may_be_unknown() -> None:
    objective = make_objective("free")
    joints = len(objective.joints_available)
    evidence = make_evidence(
        objective,
        4,
        joints_confidence=normal(4, joints, seed=3).abs(),
        annotated=torch.tensor([True, False, True, False]),
        betas_annotated=torch.tensor([True, True, False, False]),
    )
    estimate = make_estimate(4)
    found = ObjectiveGradient(objective, evidence)(estimate)
    check_close(found, by_autograd(objective, evidence, estimate), within=EXACT)
    assert (found[0]["vertices"] > 0).tolist() == [True, False, True, False]
    assert (found[0]["betas"] > 0).tolist() == [True, False, False, False]


def test_what_is_not_known_may_be_anything() -> None:
    objective = make_objective()
    plain = make_evidence(
        objective,
        2,
        annotated=torch.tensor([True, False]),
        betas_annotated=torch.tensor([False, True]),
    )
    odd = moved(plain, torch.clone)
    odd.keypoints[:, 3] = torch.nan
    odd.target.vertices[1], odd.target.rotations[1] = torch.nan, torch.inf
    odd.target.betas[:] = torch.nan
    estimate = make_estimate(2)
    expected = ObjectiveGradient(objective, plain)(estimate)
    check_close(ObjectiveGradient(objective, odd)(estimate), expected, within=1e-15)
    check_close(expected, by_autograd(objective, plain, estimate), within=EXACT)


def test_keypoints_and_joints_that_the_body_lacks() -> None:
    lacking = KeypointSet("mine", ("nose", "face_3", "left_knee", "mid_hip"))
    for names in (lacking, COCO_WHOLEBODY_133):
        made = make_body("free")
        joints = keypoint_regressor(made, COCO_17) + keypoint_regressor(made, lacking)
        objective = Objective(
            made,
            keypoints=keypoint_regressor(made, names),
            keypoint_count=17,
            camera="cliff",
            weights=WEIGHTS,
            joints=joints,
            root=(11, 12),
        )
        assert not objective.available.all()
        for confidence in (None, normal(2, len(joints.names), seed=3).abs()):
            evidence = make_evidence(objective, 2, joints_confidence=confidence)
            found = ObjectiveGradient(objective, evidence)(make_estimate(2))
            check_close(found, by_autograd(objective, evidence, make_estimate(2)), within=EXACT)


def test_joints_of_the_skeleton_alone_and_no_keypoint_on_the_skin() -> None:
    made = make_body("smpl")
    objective = Objective(
        made,
        keypoints=keypoint_regressor(made, KeypointSet("knees", ("left_knee", "right_knee"))),
        keypoint_count=2,
        camera="hmr",
        weights=WEIGHTS,
    )
    evidence = make_evidence(objective, 1)._replace(confidence=torch.ones(1, 2).double())
    found = ObjectiveGradient(objective, evidence)(make_estimate(1))
    check_close(found, by_autograd(objective, evidence, make_estimate(1)), within=EXACT)


@any_body
@any_camera
def test_in_single_precision(body: str, camera: str) -> None:
    double = make_objective(body, camera)
    single = make_objective(body, camera, dtype=torch.float32)
    evidence, estimate = make_evidence(double, 3), make_estimate(3)
    losses, gradient = ObjectiveGradient(single, moved(evidence, Tensor.float))(estimate.float())
    assert {x.dtype for x in (*losses.values(), gradient)} == {torch.float32}
    expected = ObjectiveGradient(double, evidence)(estimate)
    found = {name: loss.double() for name, loss in losses.items()}, gradient.double()
    check_close(found, expected, within=1e-4)


@any_camera
def test_a_person_alone_is_as_in_company(camera: str) -> None:
    objective = make_objective("free", camera)
    evidence = make_evidence(objective, 3, annotated=torch.tensor([True, False, True]))
    estimate = make_estimate(3)
    losses, gradient = ObjectiveGradient(objective, evidence)(estimate)
    for i in range(3):
        one = slice(i, i + 1)
        alone = ObjectiveGradient(objective, moved(evidence, lambda part, one=one: part[one]))
        expected = {name: loss[one] for name, loss in losses.items()}, gradient[one]
        check_close(alone(estimate[one]), expected, within=1e-12)


def test_without_a_target_only_what_needs_none() -> None:
    objective = make_objective("free")
    evidence, estimate = make_evidence(objective, 2, target=False), make_estimate(2)
    gradient = ObjectiveGradient(objective, evidence)
    for names in (["keypoints_2d"], ["camera"], ["keypoints_2d", "camera"]):
        expected = by_autograd(objective, evidence, estimate, names)
        check_close(gradient(estimate, names), expected, within=EXACT)
    for names, also in (
        (None, ()),
        (["joints_3d"], ()),
        (["camera"], ["betas"]),
        (["camera"], None),
    ):
        with pytest.raises(ValueError, match="the evidence has no target"):
            gradient(estimate, names, also)


def test_a_target_without_vertices() -> None:
    objective = make_objective()
    evidence, estimate = make_evidence(objective, 1, vertices=None), make_estimate(1)
    gradient = ObjectiveGradient(objective, evidence)
    others = [name for name in LOSSES if name != "vertices"]
    expected = by_autograd(objective, evidence, estimate, others)
    check_close(gradient(estimate, others), expected, within=EXACT)
    with pytest.raises(ValueError, match="loss on vertices was asked for, but the target has none"):
        gradient(estimate)


@pytest.mark.parametrize("absent", LOSSES)
def test_losses_of_weight_zero_are_absent(absent: str) -> None:
    objective = make_objective().weighted(LossWeights(**{absent: 0.0}))
    evidence, estimate = make_evidence(objective, 2), make_estimate(2)
    gradient = ObjectiveGradient(objective, evidence)
    check_close(gradient(estimate), by_autograd(objective, evidence, estimate), within=EXACT)
    with pytest.raises(ValueError, match="no loss to minimise"):
        gradient(estimate, [absent], None)


def test_vertices_are_skinned_only_where_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = make_objective()
    gradient = ObjectiveGradient(objective, make_evidence(objective, 1))
    calls: list[str] = []
    for name in ("forward", "backward"):
        real = getattr(Vertices, name)

        def counted(*arguments: Any, name: str = name, real: Any = real) -> Any:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(Vertices, name, counted)
    gradient(make_estimate(1), ["joints_3d"])
    assert calls == []
    gradient(make_estimate(1), ["joints_3d"], ["vertices"])
    assert calls == ["forward"]
    gradient(make_estimate(1))
    assert calls == ["forward", "forward", "backward"]


@pytest.mark.parametrize("names", [["keypoints_2d", "keypoint_3d"], "camera"])
def test_unknown_losses_are_an_error(names: list[str] | str) -> None:
    objective = make_objective()
    gradient = ObjectiveGradient(objective, make_evidence(objective, 1))
    for losses, also in ((names, ()), (["camera"], names)):
        with pytest.raises(ValueError, match=r"unknown losses .*; known are keypoints_2d"):
            gradient(make_estimate(1), losses, also)


@pytest.mark.parametrize("shape", [(2, 157), (1, 156), (157,)])
def test_an_estimate_of_another_shape_is_an_error(shape: tuple[int, ...]) -> None:
    objective = make_objective()
    gradient = ObjectiveGradient(objective, make_evidence(objective, 1))
    with pytest.raises(ValueError, match=r"the estimate has shape \(.*\), expected \(1, 157\)"):
        gradient(torch.zeros(shape, dtype=torch.float64))


def test_a_camera_that_nobody_derived_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONVENTIONS, "new", lambda camera, view: hmr_camera(camera, view))
    objective = make_objective("stick", "new")
    with pytest.raises(ValueError, match="has not been derived"):
        ObjectiveGradient(objective, make_evidence(objective, 1))


@any_camera
@pytest.mark.parametrize("names", [None, ["keypoints_2d"]])
def test_can_be_exported(camera: str, names: list[str] | None) -> None:
    objective = make_objective("stick", camera)
    gradient = ObjectiveGradient(objective, make_evidence(objective, 1))

    class Module(torch.nn.Module):
        def forward(self, estimate: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            return gradient(estimate, names)

    exported = torch.export.export(Module(), (make_estimate(1),))
    estimate = make_estimate(1, seed=30)
    check_close(exported.module()(estimate), gradient(estimate, names), within=1e-14)
