"""The compiled objective against autograd through `Objective.losses`, in double precision."""

import numpy as np
import pytest
import torch
from helpers.gradient_cases import (
    BODIES,
    CAMERAS,
    LOSSES,
    WEIGHTS,
    by_autograd,
    make_body,
    make_estimate,
    make_evidence,
    rotations_of,
    split,
)
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.body.point_regressors import (
    SKELETON_HIPS,
    ComparedPoints,
    compared_points,
    keypoint_regressor,
    skeleton_regressor,
)
from dualhmr.camera import View
from dualhmr.keypoints import COCO_17, SPIN_49, KeypointSet
from dualhmr.objective.compiled_objective import CompiledObjective, PersonObjective
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.objective.weights import LossWeights

EXACT = 1e-9


class Both:
    """An objective for autograd and the compiled one, for the same person."""

    def __init__(
        self,
        body: str = "stick",
        camera: str = "cliff",
        *,
        points: ComparedPoints | None = None,
        weights: LossWeights = WEIGHTS,
    ) -> None:
        made = make_body(body)
        if points is None:
            own = keypoint_regressor(made, COCO_17)
            points = ComparedPoints(own, skeleton_regressor(made) + own, SKELETON_HIPS)
        options = {"keypoint_count": 17, "camera": camera, "weights": weights}
        self.reference = Objective(
            made, keypoints=points.keypoints, joints=points.joints, root=points.root, **options
        )
        self.compiled = CompiledObjective(made, points, dtype=np.float64, **options)

    def person(self, evidence: Evidence) -> PersonObjective:
        assert evidence.target is not None
        return PersonObjective(
            self.compiled,
            keypoints=evidence.keypoints[0].numpy(),
            confidence=evidence.confidence[0].numpy(),
            view=View(*(part.numpy() for part in evidence.view)),
            rotations=evidence.target.rotations[0].numpy(),
            betas=evidence.target.betas[0].numpy(),
        )

    def check(
        self, evidence: Evidence, estimate: Tensor, names: list[str] | None = None
    ) -> NDArray[np.float64]:
        """Against autograd; the gradient."""
        person = self.person(evidence)
        wanted = person.wanted(names)
        losses, gradient = person(estimate[0].numpy(), wanted, wanted)
        expected, slope = by_autograd(self.reference, evidence, estimate, names)
        found = dict(zip(LOSSES, losses.tolist(), strict=True))
        assert {name: found[name] for name in expected} == pytest.approx(
            {name: float(loss) for name, loss in expected.items()}, rel=EXACT
        )
        np.testing.assert_allclose(gradient, slope[0], rtol=0, atol=EXACT * slope.abs().max())
        return gradient


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("camera", CAMERAS)
def test_all_losses_together_and_what_is_posed(body: str, camera: str) -> None:
    both = Both(body, camera)
    evidence, estimate = make_evidence(both.reference, 1), make_estimate(1, spread=0.6)
    both.check(evidence, estimate)
    person = both.person(evidence)
    everything = person.wanted(None)
    person(estimate[0].numpy(), everything, everything)
    iterate = person.iterate(estimate[0].numpy())
    np.testing.assert_allclose(iterate.rotations, rotations_of(estimate)[0], atol=1e-12)
    target = both.reference.target(rotations_of(estimate), split(estimate).betas)
    assert target.joints.shape == (1, 41, 3)
    np.testing.assert_allclose(iterate.keypoints, target.joints[0, 24:], atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_alone(name: str) -> None:
    both = Both("free")
    gradient = both.check(make_evidence(both.reference, 1), make_estimate(1), [name])
    assert abs(gradient).max() > 0


def test_losses_that_are_only_watched_do_not_count_in_the_gradient() -> None:
    both = Both("free")
    evidence, estimate = make_evidence(both.reference, 1), make_estimate(1)
    person = both.person(evidence)
    for names in (["keypoints_2d"], ["joints_3d", "betas"], ["vertices"]):
        minimised = person.wanted(names)
        losses, gradient = person(estimate[0].numpy(), minimised, person.wanted(None))
        _, slope = by_autograd(both.reference, evidence, estimate, names)
        np.testing.assert_allclose(gradient, slope[0], rtol=0, atol=EXACT * slope.abs().max())
        assert (losses > 0).all()


def test_networks_of_spins_family_and_points_that_the_body_lacks() -> None:
    made = make_body("free")
    given = KeypointSet("mine", ("nose", "face_3", "left_knee", "mid_hip", "neck", "left_ear"))
    points = compared_points(made, SPIN_49, keypoint_regressor(made, given))
    both = Both("free", points=points)
    assert not both.compiled.available.all()
    both.check(make_evidence(both.reference, 1), make_estimate(1))


def test_a_missing_keypoint_may_be_anywhere() -> None:
    both = Both("free")
    evidence, estimate = make_evidence(both.reference, 1), make_estimate(1)
    assert evidence.confidence[0, 3] == 0
    evidence.keypoints[0, 3] = torch.nan
    assert np.isfinite(both.check(evidence, estimate)).all()


def test_what_is_not_finite_is_not_hidden() -> None:
    both = Both("free")
    person = both.person(make_evidence(both.reference, 1))
    everything = person.wanted(None)
    for place in (0, 80, 143, 150, 154, 156):
        estimate = make_estimate(1)[0].numpy()
        estimate[place] = np.nan
        losses, _ = person(estimate, everything, everything)
        assert not np.isfinite(losses.sum())


def test_in_single_precision() -> None:
    both = Both("free")
    evidence, estimate = make_evidence(both.reference, 1), make_estimate(1)
    made = make_body("free")
    own = keypoint_regressor(made, COCO_17)
    points = ComparedPoints(own, skeleton_regressor(made) + own, SKELETON_HIPS)
    both.compiled = CompiledObjective(
        made, points, keypoint_count=17, camera="cliff", weights=WEIGHTS
    )
    person = both.person(evidence)
    everything = person.wanted(None)
    losses, gradient = person(estimate[0].float().numpy(), everything, everything)
    expected, slope = by_autograd(both.reference, evidence, estimate)
    np.testing.assert_allclose(losses, [float(loss) for loss in expected.values()], rtol=1e-5)
    np.testing.assert_allclose(gradient, slope[0], rtol=0, atol=1e-5 * slope.abs().max())


def test_unknown_losses_and_none_that_counts() -> None:
    objective = Both(weights=LossWeights(betas=0.0)).compiled
    with pytest.raises(ValueError, match="unknown losses colour; known are keypoints_2d, "):
        objective.wanted(["colour"])
    with pytest.raises(ValueError, match="no loss to minimise"):
        objective.wanted(["betas"])
    assert objective.wanted(None).tolist() == [1, 1, 1, 1, 0, 1]
