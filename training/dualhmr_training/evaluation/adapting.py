"""What test time knows of people: what their networks read, and what these are adapted to."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualhmr.adaptation.adapt import AdaptationResult
from dualhmr.adaptation.fast_head import adapt_heads
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body
from dualhmr.body.points import PointRegressor, keypoint_regressor
from dualhmr.camera import box_info
from dualhmr.keypoints import BODY_23, SPIN_24, SPIN_49, KeypointSet, network_keypoints
from dualhmr.networks import affine_head, as_output
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, Objective, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr.person import keypoints_input
from dualhmr_training.evaluation.errors import PersonErrors, people_errors
from dualhmr_training.evaluation.report import Evaluation, summarise
from dualhmr_training.evaluation.subjects import Group, Subjects
from dualhmr_training.spin_joints import spin_24_regressor, spin_objective
from dualhmr_training.training_folder import NetworkFacts, Networks


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
        given = subjects.evidence
        inputs = {"box_info": box_info(given.view)}
        if "keypoints" in self._read:
            observed, source = (given.keypoints, given.confidence), self._given
            if subjects.observed is not None:
                observed, source = subjects.observed, BODY_23
            target = network_keypoints(self._own).set
            inputs["keypoints"] = keypoints_input(*observed, source=source, target=target)
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


class Adapter(Protocol):
    """Whoever adapts networks to people in order to be evaluated."""

    @property
    def objective(self) -> Objective:
        """Of test time."""
        ...

    def adapt(
        self, subjects: Subjects, schedules: Sequence[Schedule]
    ) -> list[tuple[AdaptationResult, ...]]:
        """For every schedule the course of every person; outputs are `HeadOutput`s of one."""
        ...


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
        """Takes and raises what `Observer` does."""
        self._observer = Observer(networks, body, given, weights=weights, extra_joints=extra_joints)
        self._main = networks.main
        self._head = affine_head(networks.main.head)

    @property
    def objective(self) -> Objective:
        """Of test time."""
        return self._observer.objective

    @torch.no_grad()
    def adapt(
        self, subjects: Subjects, schedules: Sequence[Schedule]
    ) -> list[tuple[AdaptationResult, ...]]:
        """See `Adapter`. Raises ValueError as `adapt_heads` does."""
        inputs, evidence = self._observer.observe(subjects)
        head = self._main.head
        box_info = inputs["box_info"] if head.reads_box_info else None
        given = head.given(self._main.encode(inputs), box_info)
        evaluate = ObjectiveGradient(self.objective, evidence)
        return [
            adapt_heads(self._head, given, evaluate, schedule, output=as_output)
            for schedule in schedules
        ]


Progress = Callable[[int], None]


def evaluate(
    adapter: Adapter,
    group: Group,
    schedules: Sequence[Schedule],
    *,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """An evaluation for every schedule, all on the same people; takes and raises `errors_of`."""
    return [
        summarise(
            of_everybody,
            joint_names=group.joints.names,
            keypoints=group.keypoints,
            schedule=schedule.name,
            adam_rate=schedule.phases[-1].optimiser.learning_rate,
        )
        for schedule, of_everybody in zip(
            schedules, errors_of(adapter, group, schedules, progress=progress), strict=True
        )
    ]


def errors_of(
    adapter: Adapter,
    group: Group,
    schedules: Sequence[Schedule],
    *,
    after: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[list[PersonErrors]]:
    """For every schedule everybody's errors `after` some numbers of steps; None is every number.

    `adapter` must know the keypoints of `group`; `progress` is called with the number of people
    done. Raises ValueError where there are no people, or one who cannot be adapted to.
    """
    errors: list[list[PersonErrors]] = [[] for _ in schedules]
    done = 0
    for subjects in group.batches:
        try:
            adapted = adapter.adapt(subjects, schedules)
        except ValueError as error:
            raise ValueError(f"of the people from number {done} on, {error}") from error
        for schedule, courses, so_far in zip(schedules, adapted, errors, strict=True):
            numbers = range(schedule.max_steps + 1) if after is None else after
            so_far += people_errors(
                courses, subjects, adapter.objective, group.joints, after=numbers
            )
        done += len(subjects.truth.joints)
        if progress is not None:
            progress(done)
    if not done:
        raise ValueError("there is nobody to evaluate on")
    return errors
