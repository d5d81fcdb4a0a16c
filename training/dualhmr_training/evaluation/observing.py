"""What test time knows of people: what their networks read, and what these are adapted to."""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body import Body, PointRegressor, keypoint_regressor
from dualhmr.camera import box_info
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import BODY_23, SPIN_24, SPIN_49, KeypointSet, own_keypoints
from dualhmr.loss_weights import LossWeights
from dualhmr.objective import Evidence, Objective
from dualhmr.own_objective import own_objective
from dualhmr_training.evaluation.subjects import Subjects
from dualhmr_training.opened import Networks
from dualhmr_training.spin_joints import spin_24_regressor, spin_objective
from dualhmr_training.trained import NetworkFacts


class Observation(NamedTuple):
    """N people as they are known at test time."""

    inputs: dict[str, Tensor]
    """What the networks read, by name."""
    evidence: Evidence
    """Keypoints, and the auxiliary network's pseudo mesh where there is such a network."""


class Observer:
    """Runs the auxiliary network, and puts together all that the main one is adapted with."""

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
        self._auxiliary = networks.auxiliary
        self._given = given
        self._read = networks.reads
        self._own = networks.facts.keypoint_set

    @torch.no_grad()
    def observe(self, subjects: Subjects) -> Observation:
        """What is known of people; their keypoints must be of the set given."""
        given = subjects.known
        inputs = {"box_info": box_info(given.view)}
        if "keypoints" in self._read:
            seen, source = (given.keypoints, given.confidence), self._given
            if subjects.seen is not None:
                seen, source = subjects.seen, BODY_23
            target = own_keypoints(self._own).set
            inputs["keypoints"] = keypoints_input(*seen, source=source, target=target)
        if subjects.image is not None:
            inputs["image"] = subjects.image
        if self._auxiliary is not None:
            guess = self._auxiliary(inputs)
            mesh = self.objective.target(guess.rotations, guess.betas)
            given = given._replace(target=mesh)
        return Observation(inputs, given)


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
