"""Each person's head of the last frame as the start for the next one, and when it is not."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.person import AdaptedPerson, PersonEvidence
from dualhmr.person_fitting import PersonFitter, WarmFitter

COLD, WARM, RESET = "cold", "warm", "reset"
STARTS = (COLD, WARM, RESET)
"""Where a person's adaptation began: at the trained head, as there was no other; at the head of the
last frame; at the trained head, as that of the last frame was worse."""

_log = logging.getLogger("dualhmr")


@dataclass(frozen=True)
class WarmOptions:
    """How adaptation goes on from frame to frame. Raises ValueError for other values."""

    steps: int = 2
    """Of the schedule's last phase, in each frame after a person's first."""
    jump: float = 1.0
    """The head is reset where its loss, before any step, is above this many times that of the
    trained head: the pose changed too much, or the track went over to somebody else."""
    gap_s: float = 0.5
    """The head is dropped where a person was not seen for longer."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}, expected 0 or more")
        if not self.jump > 0:
            raise ValueError(f"jump is {self.jump}, expected a factor above 0")
        if not self.gap_s >= 0:
            raise ValueError(f"gap_s is {self.gap_s}, expected seconds, 0 or more")


def warm_schedule(schedule: Schedule, steps: int) -> Schedule:
    """`steps` steps of the last phase: a plain step before it is for the trained head alone."""
    return replace(schedule, phases=(replace(schedule.phases[-1], steps=steps),))


class _Kept(NamedTuple):
    head: Any
    time_s: float


class WarmStart:
    """The heads of all tracks, one each, and the adaptation that goes on from them."""

    def __init__(
        self,
        fitter: PersonFitter,
        schedule: Schedule,
        options: WarmOptions | None = None,
        *,
        threads: int = 1,
    ) -> None:
        """`schedule` is that of a cold start. People of a frame share `threads`.

        Raises ValueError for a fitter that keeps no heads; see `can_continue`.
        """
        if not isinstance(fitter, WarmFitter):
            raise ValueError(f"{fitter.runs_on} adapts anew in every frame, it keeps no heads")
        self.options = options or WarmOptions()
        self._fitter: WarmFitter = fitter
        self._cold, self._threads = schedule, threads
        self._warm = warm_schedule(schedule, self.options.steps)
        self._heads: dict[int, _Kept] = {}

    def __len__(self) -> int:
        """How many heads are kept."""
        return len(self._heads)

    def adapt(
        self, people: Sequence[PersonEvidence], tracks: Sequence[int], time_s: float
    ) -> tuple[list[AdaptedPerson | NonFiniteError], list[str]]:
        """The bodies of a frame's people, by the numbers of their tracks, and one of `STARTS` each.

        Each person is adapted alone, so nobody's result depends on the others.
        """

        def one(person: PersonEvidence, track: int) -> tuple[AdaptedPerson | NonFiniteError, str]:
            return self._adapt(person, track, time_s)

        threads = min(self._threads, len(people))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(one, people, tracks))
        else:
            results = list(map(one, people, tracks))
        return [body for body, _ in results], [start for _, start in results]

    def keep_only(self, tracks: Collection[int]) -> None:
        """Drops the heads of other tracks, which have ended."""
        self._heads = {track: self._heads[track] for track in self._heads if track in tracks}

    def _adapt(
        self, person: PersonEvidence, track: int, time_s: float
    ) -> tuple[AdaptedPerson | NonFiniteError, str]:
        kept, start = self._heads.pop(track, None), COLD
        if kept is not None and time_s - kept.time_s <= self.options.gap_s + 1e-6:
            found = self._continued(person, kept.head)
            if found is not None:
                self._heads[track] = _Kept(found[1], time_s)
                return found[0], WARM
            start = RESET
        try:
            body, head = self._fitter.adapt_from(person, self._cold, None)
        except NonFiniteError as error:
            return error, start
        self._heads[track] = _Kept(head, time_s)
        return body, start

    def _continued(self, person: PersonEvidence, head: Any) -> tuple[AdaptedPerson, Any] | None:
        """From `head`, or None where the trained head is the better start."""
        try:
            body, head = self._fitter.adapt_from(person, self._warm, head)
        except NonFiniteError:
            return None
        try:
            trained = self._fitter.loss_with(person, self._warm, None)
        except NonFiniteError:
            trained = math.inf
        # Written so that a NaN of the trained head resets nothing.
        return None if body.iterates.losses[0] > self.options.jump * trained else (body, head)


def can_continue(fitter: PersonFitter, adaptation: str) -> bool:
    """Whether heads can be kept from frame to frame; where they cannot, a warning says so."""
    if isinstance(fitter, WarmFitter):
        return True
    _log.warning(
        "adaptation %r keeps no heads: every frame starts at the trained head and takes all steps; "
        "adaptation 'numba' or 'torch' can continue",
        adaptation,
    )
    return False
