"""Threads that share work."""

import os
import threading
import time

import pytest

from dualhmr.compiling import WorkerThreads


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_piece_is_done_once_and_the_call_waits_for_all(count: int) -> None:
    workers, done = WorkerThreads(count), []

    def work(part: int) -> None:
        time.sleep(0.001 * (part % 3))
        done.append((part, threading.get_ident()))

    for parts in (0, 1, 7, 3):
        done.clear()
        workers.run(work, parts)
        assert sorted(part for part, _ in done) == list(range(parts))
        assert len({thread for _, thread in done}) <= count


def test_an_error_is_raised_when_all_is_done() -> None:
    workers, done = WorkerThreads(2), []

    def work(part: int) -> None:
        done.append(part)
        if part == 2:
            raise ValueError("the third")

    for _ in range(2):
        with pytest.raises(ValueError, match="the third"):
            workers.run(work, 5)
    assert sorted(done) == sorted([*range(5)] * 2)


def test_who_asks_meanwhile_does_it_alone() -> None:
    workers = WorkerThreads(2)
    inner: list[bool] = []

    def work(_: int) -> None:
        own = threading.get_ident()
        workers.run(lambda _: inner.append(threading.get_ident() == own), 4)

    workers.run(work, 3)
    assert inner == [True] * 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    workers = WorkerThreads(2)
    workers.run(lambda _: None, 4)
    child = os.fork()
    if child == 0:
        done: list[int] = []
        workers.run(done.append, 4)
        os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_end_with_their_object() -> None:
    before = threading.active_count()
    workers = WorkerThreads(3)
    workers.run(lambda _: None, 4)
    assert threading.active_count() == before + 2
    del workers
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
