"""What is taken down of persons who are adapted side by side."""

from collections.abc import Callable

from torch import Tensor

from dualhmr.adaptation.course import Recorder


class Records:
    """A recorder for each of N persons; nothing more is taken down of those who have stopped."""

    def __init__(self, recorders: list[Recorder], output: Callable[[Tensor], object]) -> None:
        self._recorders = recorders
        self._output = output

    def enter_phase(self) -> None:
        """Says that another optimiser begins."""
        for recorder in self._recorders:
            recorder.enter_phase()

    def record(self, watched: Tensor, estimate: Tensor) -> None:
        """The watched loss (N,) and the estimate (N, E), for those who have not stopped."""
        for person, loss in enumerate(watched.tolist()):
            recorder = self._recorders[person]
            if recorder.stop_reason:
                continue
            try:
                recorder.record(loss, self._output(estimate[person : person + 1]))
            except ValueError as error:
                if len(self._recorders) == 1:
                    raise
                raise ValueError(f"person {person}: {error}") from error

    @property
    def all_stopped(self) -> bool:
        """Whether there is nobody to go on for."""
        return all(recorder.stop_reason for recorder in self._recorders)
