"""Items to processes: each works on one at a time, and one that dies costs its item one try."""

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from dualhmr.jobs.items import JobItem
from dualhmr.jobs.worker import JobWorker, Outcome, Renewal

MOST_TRIES = 2
"""Of an item whose process died: the second time it is to blame."""
_MOST_LOST = 8
"""Processes that die one after the other, without any result, before the job ends."""

_MOST_RENEWALS = 3
"""Of a process; a machine without a disk to keep compiled loops on would ask for ever."""

Lost = str
"""How a process died."""
Result = Outcome | Renewal | Exception | Lost
"""What a process gives back. Exceptions end the job."""


class Crew(Protocol):
    """Processes or actors, numbered from 0."""

    size: int

    def give(self, number: int, item: JobItem) -> None:
        """Lets one that is idle work on an item."""
        ...

    def finished(self) -> list[tuple[int, Result]]:
        """Waits for at least one. One that died is replaced."""
        ...

    def renew(self, number: int, *, again: bool) -> None:
        """Replaces one that asked for its renewal by one that may ask `again` or not."""
        ...

    def close(self) -> None:
        """Ends all of them, at once."""
        ...


def work_through(items: Iterable[JobItem], crew: Crew) -> Iterator[Outcome]:
    """The outcome of each item, in the order in which they end.

    Raises what a worker raises because no item can be done, and RuntimeError where all die.
    """
    waiting, tries = deque(items), Counter[str]()
    idle, at_work = list(range(crew.size)), dict[int, JobItem]()
    lost, renewals = 0, Counter[int]()
    while waiting or at_work:
        while idle and waiting:
            number, item = idle.pop(), waiting.popleft()
            tries[item.name] += 1
            at_work[number] = item
            crew.give(number, item)
        for number, result in crew.finished():
            item = at_work.pop(number)
            idle.append(number)
            if isinstance(result, Renewal):
                renewals[number] += 1
                crew.renew(number, again=renewals[number] < _MOST_RENEWALS)
                tries[item.name] -= 1
                waiting.appendleft(item)
                continue
            if isinstance(result, Exception):
                raise result
            if isinstance(result, Outcome):
                lost = 0
                yield result
                continue
            lost += 1
            if lost >= _MOST_LOST * crew.size:
                raise RuntimeError(
                    f"{lost} processes died one after the other, the last one so: {result}; is "
                    "there enough memory? Use fewer --workers"
                )
            if tries[item.name] < MOST_TRIES:
                waiting.append(item)
            else:
                yield Outcome(item.name, f"its process died in {MOST_TRIES} tries: {result}")


class LocalCrew:
    """Processes of this machine, started anew, not forked: engines and GPUs do not survive that."""

    def __init__(self, worker: JobWorker, size: int) -> None:
        self.size = size
        self._worker = worker
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._busy = set[int]()

    def give(self, number: int, item: JobItem) -> None:
        """See `Crew`."""
        if number not in self._processes:
            self._processes[number] = self._started(self._worker)
        self._busy.add(number)
        # One that died while it was idle is found out when its result is asked for.
        with suppress(OSError):
            self._processes[number][1].send(item)

    def finished(self) -> list[tuple[int, Result]]:
        """See `Crew`."""
        connections = {self._processes[number][1]: number for number in self._busy}
        done = [connections[each] for each in wait(list(connections))]  # type: ignore[index]
        self._busy.difference_update(done)
        return [(number, self._result(number)) for number in done]

    def renew(self, number: int, *, again: bool) -> None:
        """See `Crew`."""
        self._end(number)
        self._processes[number] = self._started(replace(self._worker, renews=again))

    def close(self) -> None:
        """See `Crew`."""
        for number in list(self._processes):
            self._end(number)

    def _end(self, number: int) -> None:
        process, connection = self._processes.pop(number)
        process.kill()
        process.join()
        connection.close()

    def _result(self, number: int) -> Result:
        process, connection = self._processes[number]
        try:
            result: Result = connection.recv()
            return result
        except (EOFError, OSError):
            process.join()
            connection.close()
            del self._processes[number]
            return f"exit code {process.exitcode}"

    def _started(self, worker: JobWorker) -> tuple[SpawnProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, worker), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return process, ours


def _work(connection: Connection, worker: JobWorker) -> None:
    """Until the other end is closed, by the end of the process that started this one too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            try:
                result: Result = worker(item)
            except Exception as error:
                result = error
            connection.send(result)
