"""Which process works on what, and what becomes of an item whose process dies."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.dying_worker import DyingWorker

from dualhmr.image_files import PHOTOGRAPH
from dualhmr.jobs.crew import LocalCrew, work_through
from dualhmr.jobs.items import JobItem
from dualhmr.jobs.worker import Outcome, Renewal


class FakeCrew:
    """Ends what it was given one by one, as `work` says."""

    def __init__(self, size: int, work: Callable[[JobItem], Any]) -> None:
        self.size, self._work = size, work
        self._given = deque[tuple[int, JobItem]]()
        self.renewed: list[tuple[int, bool]] = []

    def give(self, number: int, item: JobItem) -> None:
        assert number < self.size
        assert number not in dict(self._given), "it is at work"
        self._given.append((number, item))

    def finished(self) -> list[tuple[int, Any]]:
        number, item = self._given.popleft()
        return [(number, self._work(item))]

    def renew(self, number: int, *, again: bool) -> None:
        self.renewed.append((number, again))

    def close(self) -> None: ...


def items(*names: str) -> list[JobItem]:
    return [JobItem(name, f"/{name}", PHOTOGRAPH) for name in names]


@pytest.mark.parametrize("size", [1, 3, 20])
def test_every_item_is_worked_on_once(size: int) -> None:
    names = [f"{number}.jpg" for number in range(10)]
    crew = FakeCrew(size, lambda item: Outcome(item.name))
    assert sorted(each.item for each in work_through(items(*names), crew)) == names


def test_an_item_whose_process_died_is_tried_once_more() -> None:
    tried = []

    def work(item: JobItem) -> Any:
        tried.append(item.name)
        dies = item.name == "always" or (item.name == "once" and tried.count("once") == 1)
        return "exit code -9" if dies else Outcome(item.name)

    crew = FakeCrew(2, work)
    outcomes = {each.item: each for each in work_through(items("always", "once", "never"), crew)}
    assert {name: tried.count(name) for name in outcomes} == {"always": 2, "once": 2, "never": 1}
    assert outcomes["always"].error == "its process died in 2 tries: exit code -9"
    assert outcomes["once"].error is outcomes["never"].error is None


def test_a_renewed_process_costs_no_try_and_is_not_renewed_for_ever() -> None:
    crew = FakeCrew(1, lambda item: Renewal() if len(crew.renewed) < 3 else Outcome(item.name))
    assert [each.error for each in work_through(items("a", "b"), crew)] == [None, None]
    assert crew.renewed == [(0, True), (0, True), (0, False)]


def test_a_job_ends_where_every_process_dies_or_none_can_work() -> None:
    names = [str(number) for number in range(100)]
    with pytest.raises(RuntimeError, match=r"processes died one after the other.*fewer --workers"):
        list(work_through(items(*names), FakeCrew(2, lambda _: "exit code -9")))
    with pytest.raises(FileNotFoundError, match="no bundle"):
        list(work_through(items(*names), FakeCrew(2, lambda _: FileNotFoundError("no bundle"))))


def test_processes_that_are_killed_are_replaced(tmp_path: Path) -> None:
    crew = LocalCrew(DyingWorker(tmp_path), 1)  # type: ignore[arg-type]
    try:
        outcomes = {each.item: each for each in work_through(items("always", "once", "x"), crew)}
    finally:
        crew.close()
    assert outcomes.keys() == {"always", "once", "x"}
    assert outcomes["always"].error == "its process died in 2 tries: exit code -9"
    assert outcomes["once"].error is outcomes["x"].error is None
