"""How far a build has come."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """One report."""

    phase: str
    """What TensorRT is doing, in its own words, which differ between its versions."""
    fraction: float
    """Of the whole build, from 0 to 1; never falls. Not of its time: phases differ."""
    seconds: float
    """Since the build began."""

    def __str__(self) -> str:
        return f"{self.fraction:4.0%} after {self.seconds:.1f} s: {self.phase}"


Report = Callable[[Progress], None]


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


@dataclass
class Phases:
    """Phases within phases, and the fraction that is done of them all. Takes calls from threads."""

    report: Report | None
    raised: BaseException | None = None
    """What a report raised while TensorRT was calling; the build is to end with it."""
    _phases: dict[str, _Phase] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)
    _fraction: float = 0.0
    _told: tuple[int, float] = (-1, 0.0)
    """Percent and seconds of the last report."""
    _lock: Any = field(default_factory=threading.RLock)

    @property
    def seconds(self) -> float:
        """Since this began."""
        return time.perf_counter() - self._started

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within a step of `parent`."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self.tell(name, self._done(None))

    def step(self, name: str, number: int) -> None:
        """A phase's step is done."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = number + 1
                self.tell(name, self._done(None))

    def finish(self, name: str) -> None:
        """A phase ends."""
        with self._lock:
            self._phases.pop(name, None)

    def tell(self, phase: str, fraction: float) -> None:
        """Reports every percent and every second; `fraction`, or what was told before if more."""
        self._fraction = max(self._fraction, min(fraction, 1.0))
        percent, seconds = int(100 * self._fraction), self.seconds
        if percent == self._told[0] and seconds < self._told[1] + 1:
            return
        self._told = percent, seconds
        if self.report is not None and self.raised is None:
            self.report(Progress(phase, self._fraction, seconds))

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keeps what the block raises, as TensorRT's code, which calls it, could not bear it."""
        try:
            yield
        except BaseException as error:  # Ctrl-C as well
            self.raised = self.raised or error

    def _done(self, parent: str | None) -> float:
        return sum(
            (phase.done + self._done(name)) / phase.steps
            for name, phase in self._phases.items()
            if phase.parent == parent
        )


def progress_monitor(module: Any, phases: Phases) -> Any | None:
    """TensorRT's view of `phases`; None for a version that reports nothing."""
    base: Any = getattr(module, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc]  # whose base is known only here
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            with phases.keeping():
                phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            with phases.keeping():
                phases.step(name, step)
            return phases.raised is None  # False ends the build

        def phase_finish(self, name: str) -> None:
            with phases.keeping():
                phases.finish(name)

    return Monitor()
