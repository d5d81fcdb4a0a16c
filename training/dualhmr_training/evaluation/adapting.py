"""Adapting the main network's head to each of many people."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dualhmr.adaptation import Course, Schedule
from dualhmr.adaptation.structured import adapt_heads
from dualhmr.body import Body
from dualhmr.keypoints import KeypointSet
from dualhmr.loss_weights import LossWeights
from dualhmr.networks import affine_head, as_output
from dualhmr.objective import Objective
from dualhmr.objective_gradient import ObjectiveGradient
from dualhmr_training.evaluation.observing import Observer
from dualhmr_training.evaluation.subjects import Subjects
from dualhmr_training.opened import Networks


class Adapter(Protocol):
    """Whoever adapts networks to people in order to be evaluated."""

    @property
    def objective(self) -> Objective:
        """Of test time."""
        ...

    def adapt(self, subjects: Subjects, schedules: Sequence[Schedule]) -> list[tuple[Course, ...]]:
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
    def adapt(self, subjects: Subjects, schedules: Sequence[Schedule]) -> list[tuple[Course, ...]]:
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
