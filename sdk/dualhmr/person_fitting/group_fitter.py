"""Fitting people on a GPU in groups, with whatever of graphs and kernels works there."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dualhmr.adaptation.fast_head import AffineHead
from dualhmr.adaptation.fast_head.cuda_graph import EagerReplay, Replay, replay_for
from dualhmr.adaptation.fast_head.cupy_kernels import cuda_kernels
from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.body.model import Body
from dualhmr.groups import group_sizes
from dualhmr.networks import RegressorHead
from dualhmr.objective.gradient.points import Vertices
from dualhmr.objective.gradient.skeleton import Skeleton
from dualhmr.objective.objective import Objective
from dualhmr.person import AdaptedPerson, PersonEvidence
from dualhmr.person_fitting.captured_people import CapturedBodies, CapturedPeople

_KEPT = 8
"""Captured groups; each keeps matrices and moments of all its persons."""
_log = logging.getLogger("dualhmr")
_Key = tuple[Objective, Schedule, int]


class GroupFitter:
    """Adapts a head to any number of persons. Several threads may share it: they take turns."""

    def __init__(
        self, head: AffineHead, network: RegressorHead, body: Body, *, cuda_graph: bool
    ) -> None:
        """`network` is the head as a module, on the same device as the body."""
        self._head, self._network, self._body = head, network, body
        device = head.start.device
        self._replay: Replay = replay_for(device) if cuda_graph else EagerReplay()
        self._kernels = cuda_kernels()
        self._captured: OrderedDict[_Key, CapturedPeople] = OrderedDict()
        self._skin = Skeleton(body), Vertices(body)
        self._bodies: dict[int, CapturedBodies] = {}
        self._lock = Lock()

    def open(self, objective: Objective, schedule: Schedule) -> None:
        """Compiles and captures what one person needs, so that the first does not wait for it."""
        with self._lock:
            self._group(objective, schedule, 1)
            self._posing(1)

    def adapt(
        self, people: Sequence[PersonEvidence], objective: Objective, schedule: Schedule
    ) -> list[AdaptedPerson | NonFiniteError]:
        """The best body for each person, or why there is none."""
        results: list[AdaptedPerson | NonFiniteError] = []
        with self._lock:
            for count, size in group_sizes(len(people)):
                taken = people[len(results) : len(results) + count]
                results += self._group(objective, schedule, size).adapt(taken)
        return results

    def pose(
        self, rotations: npt.NDArray[Any], betas: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """As `pose_arrays`, in groups."""
        people = [
            {"rotations": rotations[row : row + 1], "betas": betas[row : row + 1]}
            for row in range(len(rotations))
        ]
        posed, begin = [], 0
        with self._lock:
            for count, size in group_sizes(len(people)):
                posed.append(self._posing(size).pose(people[begin : begin + count]))
                begin += count
        both = np.concatenate(posed)
        return both[:, :-JOINT_COUNT], both[:, -JOINT_COUNT:]

    def _posing(self, size: int) -> CapturedBodies:
        if size not in self._bodies:
            self._bodies[size] = CapturedBodies(self._body, *self._skin, size, replay=self._replay)
        return self._bodies[size]

    def _group(self, objective: Objective, schedule: Schedule, size: int) -> CapturedPeople:
        """Captured now, or kept; the one that was not used for longest is given up."""
        key = (objective, schedule, size)
        if key not in self._captured:
            self._captured[key] = self._capture(key)
        self._captured.move_to_end(key)
        while len(self._captured) > _KEPT:
            self._captured.popitem(last=False)
        return self._captured[key]

    def _capture(self, key: _Key) -> CapturedPeople:
        try:
            return self._captured_by_means(key)
        except torch.cuda.OutOfMemoryError:
            raise
        # Compilers, drivers and libraries each have errors of their own.
        except Exception as error:
            if self._kernels is not None:
                _log.warning("steps run in PyTorch alone, slower, as a kernel failed: %s", error)
                self._kernels = None
            elif not isinstance(self._replay, EagerReplay):
                _log.warning(
                    "steps run without CUDA graphs, slower, as a capture failed: %s", error
                )
                self._replay = EagerReplay()
            else:
                raise
        return self._capture(key)

    def _captured_by_means(self, key: _Key) -> CapturedPeople:
        objective, schedule, size = key
        return CapturedPeople(
            self._head,
            self._network,
            objective,
            schedule,
            size,
            replay=self._replay,
            kernels=self._kernels,
        )
