"""Threads that work on a stream: order, bounded memory, errors, and how it ends."""

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Iterator
from queue import SimpleQueue

import pytest

from dualhmr.recoverer.ordered_work import in_groups, in_order

THREADS = 3


def uneven(item: int) -> int:
    """Later items are often done before earlier ones."""
    time.sleep(0.002 * (item % 3))
    return item * item


def counted(count: int, seen: list[int]) -> Iterator[int]:
    for item in range(count):
        seen.append(item)
        yield item


def squares(way: str, items: Iterable[int], *, ahead: int = 8) -> Generator[int, None, None]:
    if way == "order":
        return in_order(uneven, items, threads=THREADS)
    return in_groups(
        uneven, iter, items, threads=THREADS, ahead=ahead, fits=lambda group: len(group) <= 4
    )


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(running())
    yield
    for thread in set(running()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


ways = pytest.mark.parametrize("way", ["order", "groups"])


@ways
@pytest.mark.parametrize("count", [0, 1, 50])
def test_order_is_kept(way: str, count: int) -> None:
    assert list(squares(way, range(count))) == [item * item for item in range(count)]


@ways
def test_few_items_are_asked_for_ahead(way: str) -> None:
    seen: list[int] = []
    results = squares(way, counted(10_000, seen))
    for taken in range(1, 40):
        next(results)
        time.sleep(0.005)
        # Ready, being worked on, one that waits; in groups a second row of results.
        assert len(seen) - taken <= 3 * THREADS + (2 * 8 + 4 if way == "groups" else 0)
    results.close()
    asked = len(seen)
    time.sleep(0.02)
    assert len(seen) <= asked + 1


@ways
def test_results_come_while_the_source_waits(way: str) -> None:
    """A source that gives an item only when the result before it has come, as a camera may."""
    asked: SimpleQueue[int | None] = SimpleQueue()
    asked.put(0)
    results = squares(way, iter(asked.get, None))
    for item in range(20):
        assert next(results) == item * item
        asked.put(item + 1)
    asked.put(None)
    assert list(results) == [400]


@ways
def test_an_error_of_the_source_comes_after_the_results_before_it(way: str) -> None:
    def source() -> Iterator[int]:
        yield from range(10)
        raise KeyError("camera lost")

    results = squares(way, source())
    assert [next(results) for _ in range(10)] == [item * item for item in range(10)]
    with pytest.raises(KeyError, match="camera lost"):
        next(results)


class Item:
    """Something with memory of its own."""


def test_an_abandoned_stream_ends_and_keeps_nothing() -> None:
    made: list[weakref.ref[Item]] = []

    def source() -> Iterator[Item]:
        while True:
            item = Item()
            made.append(weakref.ref(item))
            yield item
            del item

    def alive() -> int:
        return sum(item() is not None for item in made)

    for way in (
        in_order(lambda item: item, source(), threads=THREADS),
        in_groups(lambda item: item, iter, source(), threads=THREADS, ahead=4, fits=lambda _: True),
    ):
        for _ in range(100):
            next(way)
            assert alive() < 20
        way.close()
    del way
    gc.collect()
    deadline = time.monotonic() + 5
    while alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive()


def test_groups_take_what_is_ready() -> None:
    """Where the work is slow, what has come meanwhile is one group; a first item never waits."""
    sizes = []

    def slow(group: list[int]) -> list[int]:
        sizes.append(len(group))
        time.sleep(0.02)
        return group

    found = in_groups(
        lambda item: item, slow, range(60), threads=2, ahead=16, fits=lambda group: len(group) <= 9
    )
    assert list(found) == list(range(60))
    assert max(sizes) == 9
    assert len(sizes) < 30


def test_an_interrupt_ends_the_program_while_the_source_waits() -> None:
    program = """
import signal, time
from dualhmr.recoverer.ordered_work import in_order
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells ignore in the background
def camera():
    yield 1
    print("waits", flush=True)
    time.sleep(60)
try:
    for _ in in_order(lambda item: item, camera(), threads=2):
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"waits\n"
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"interrupted\n"
        assert child.wait(10) == 0
