"""Running networks on many people, and adapting the main one's head to each of them."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.adaptation import Course, Parameters, Schedule, adapt_together
from dualhmr.body import Body, PointRegressor, keypoint_regressor
from dualhmr.camera import box_info
from dualhmr.inputs import keypoints_input
from dualhmr.keypoints import SPIN_24, SPIN_49, KeypointSet, own_keypoints
from dualhmr.loss_weights import LossWeights
from dualhmr.networks import HeadOutput
from dualhmr.objective import Evidence, Objective
from dualhmr.own_objective import own_objective
from dualhmr_training.evaluation.networks import Networks
from dualhmr_training.evaluation.subjects import Subjects
from dualhmr_training.spin_joints import spin_24_regressor, spin_objective
from dualhmr_training.trained import NetworkFacts


class _Known(NamedTuple):
    """All that stays fixed while a head is adapted. Every tensor has the person axis first."""

    head_inputs: dict[str, Tensor]
    evidence: Evidence


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
        self._given = given
        self._read = networks.reads
        self._own = networks.facts.keypoint_set

    @torch.no_grad()
    def adapt(self, subjects: Subjects, schedules: Sequence[Schedule]) -> list[tuple[Course, ...]]:
        """For every schedule the course of every person; outputs are `HeadOutput`s of one person.

        Raises ValueError as `adapt_together` does.
        """
        known = self._look(subjects)
        start: Parameters = dict(self._main.head.named_parameters())
        return [adapt_together(start, self._losses, known, schedule) for schedule in schedules]

    def _look(self, subjects: Subjects) -> _Known:
        """Runs both networks."""
        given = subjects.known
        inputs = {"box_info": box_info(given.view)}
        if "keypoints" in self._read:
            inputs["keypoints"] = keypoints_input(
                given.keypoints,
                given.confidence,
                source=self._given,
                target=own_keypoints(self._own).set,
            )
        if subjects.image is not None:
            inputs["image"] = subjects.image
        head_inputs = {"features": self._main.encode(inputs)}
        if self._main.head.reads_box_info:
            head_inputs["box_info"] = inputs["box_info"]
        if self._auxiliary is not None:
            guess = self._auxiliary(inputs)
            target = self.objective.target(guess.rotations, guess.betas)
            given = given._replace(target=target)
        return _Known(head_inputs, given)

    def _losses(
        self, parameters: Parameters, person: _Known, names: Collection[str] | None
    ) -> tuple[dict[str, Tensor], HeadOutput]:
        alone = pytree.tree_map_only(Tensor, lambda leaf: leaf[None], person)
        output = torch.func.functional_call(self._main.head, parameters, (), alone.head_inputs)
        values = self.objective.losses(output, alone.evidence, names)
        return {name: value[0] for name, value in values.items()}, output


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
