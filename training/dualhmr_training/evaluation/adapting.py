"""Running networks on many people, and adapting the main one's head to each of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dualhmr.adaptation import Course, Schedule
from dualhmr.adaptation.structured import adapt_heads
from dualhmr.body import Body, PointRegressor, keypoint_regressor
from dualhmr.camera import box_info
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import BODY_23, SPIN_24, SPIN_49, KeypointSet, own_keypoints
from dualhmr.loss_weights import LossWeights
from dualhmr.networks import affine_head, as_output
from dualhmr.objective import Evidence, Objective
from dualhmr.objective_gradient import ObjectiveGradient
from dualhmr.own_objective import own_objective
from dualhmr_training.evaluation.networks import Networks
from dualhmr_training.evaluation.subjects import Subjects
from dualhmr_training.spin_joints import spin_24_regressor, spin_objective
from dualhmr_training.trained import NetworkFacts


class PeopleAdapter:
    """What `dualhmr recover` does, in PyTorch and for many people at once."""

    def __init__(
        self,
        networks: Networks,
        body: Body,
        given: KeypointSet,
        *,
        weights: LossWeights,
        extra_joints: Tensor | None = None,
    ) -> None:
        """`given` is the set of the keypoints given; `extra_joints` those of `spin_24_regressor`.

        Raises ValueError for an unknown keypoint set, or extra joints of another body.
        """
        self.objective = _objective(body, networks.facts, given, weights, extra_joints)
        self._main, self._auxiliary = networks.main, networks.auxiliary
        self._head = affine_head(networks.main.head)
        self._given = given
        self._read = networks.reads
        self._own = networks.facts.keypoint_set

    @torch.no_grad()
    def adapt(self, subjects: Subjects, schedules: Sequence[Schedule]) -> list[tuple[Course, ...]]:
        """For every schedule the course of every person; outputs are `HeadOutput`s of one person.

        Raises ValueError as `adapt_heads` does.
        """
        given, evidence = self._look(subjects)
        evaluate = ObjectiveGradient(self.objective, evidence)
        return [
            adapt_heads(self._head, given, evaluate, schedule, output=as_output)
            for schedule in schedules
        ]

    def _look(self, subjects: Subjects) -> tuple[Tensor, Evidence]:
        """Runs both networks: what the head reads (N, G), and what it is adapted to."""
        given = subjects.known
        inputs = {"box_info": box_info(given.view)}
        if "keypoints" in self._read:
            seen, source = (given.keypoints, given.confidence), self._given
            if subjects.seen is not None:
                seen, source = subjects.seen, BODY_23
            inputs["keypoints"] = keypoints_input(
                *seen, source=source, target=own_keypoints(self._own).set
            )
        if subjects.image is not None:
            inputs["image"] = subjects.image
        features = self._main.encode(inputs)
        reads_box_info = self._main.head.reads_box_info
        read = self._main.head.given(features, inputs["box_info"] if reads_box_info else None)
        if self._auxiliary is not None:
            guess = self._auxiliary(inputs)
            target = self.objective.target(guess.rotations, guess.betas)
            given = given._replace(target=target)
        return read, given


def _objective(
    body: Body,
    facts: NetworkFacts,
    given: KeypointSet,
    weights: LossWeights,
    extra_joints: Tensor | None,
) -> Objective:
    """That of test time, on the keypoints given and on the 3D joints that training compares."""
    points = _given_points(body, given, extra_joints)
    if facts.keypoint_set == SPIN_49:
        return spin_objective(
            body, extra_joints, camera=facts.camera, weights=weights, keypoints=points
        )
    return own_objective(
        body, facts.keypoint_set, camera=facts.camera, weights=weights, keypoints=points
    )


def _given_points(body: Body, given: KeypointSet, extra_joints: Tensor | None) -> PointRegressor:
    if given is SPIN_24:
        return spin_24_regressor(body, extra_joints)
    return keypoint_regressor(body, given)
