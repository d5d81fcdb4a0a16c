"""Work on the items of an iterable in threads: results in the items' order, memory bounded."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition, Event, Semaphore, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P")


class Background(Iterator[T], Generic[T]):
    """The items of `source`, which a thread asks for before they are needed, at most `ahead`.

    What `source` raises is raised after the items before it. The thread is a daemon: a `source`
    that waits for ever, as for a camera, does not keep the program from ending.
    """

    def __init__(self, source: Iterable[T], *, ahead: int) -> None:
        self._ahead, self._ready = ahead, deque[T]()
        self._ended, self._closed = False, False
        self._error: BaseException | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._run, args=(source,), daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        """The next item; waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended or self._closed)
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            if self._error is not None and not self._closed:
                error, self._error = self._error, None
                raise error
        raise StopIteration

    def peek(self) -> T | None:
        """The next item where it is there already."""
        with self._changed:
            return self._ready[0] if self._ready else None

    def close(self, *, wait: bool = False) -> None:
        """Asks for no more items; with `wait`, until the one that was asked for is there."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        if wait:
            self._thread.join()

    def _run(self, source: Iterable[T]) -> None:
        error = None
        try:
            items = iter(source)
            while self._wait_for_room():
                try:
                    self._put(next(items))
                except StopIteration:
                    break
        except BaseException as raised:  # for the thread that reads the items
            error = raised
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._ahead or self._closed)
            return not self._closed

    def _put(self, item: T) -> None:
        with self._changed:
            if not self._closed:
                self._ready.append(item)
                self._changed.notify_all()


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    threads: int,
    initializer: Callable[[], None] | None = None,
) -> Generator[R, None, None]:
    """`work(item)` for each item, `threads` at a time, after `initializer()` in each thread.

    A few items are asked for ahead, by one more thread; at most 3 `threads` are held at a time.
    Closing the iterator ends the threads when they are done with their item.
    """
    with _futures(work, items, threads, ahead=2 * threads, initializer=initializer) as futures:
        for future in futures:
            yield future.result()
            del future  # nor hold the result while the next is waited for


def in_groups(
    prepare: Callable[[T], P],
    work: Callable[[list[P]], Iterable[R]],
    items: Iterable[T],
    *,
    threads: int,
    ahead: int,
    fits: Callable[[list[P]], bool],
) -> Generator[R, None, None]:
    """`prepare(item)` for each item in threads, then `work` in one thread on groups of results.

    A group begins with one result, and takes those after it that are ready, up to `ahead` and as
    long as the group `fits`: a slow source is not waited for. `work` gives the results of a group.
    """

    def groups(futures: Background[Future[P]]) -> Iterator[R]:
        for future in futures:
            group = [future.result()]
            while (following := futures.peek()) is not None and following.done():
                if len(group) == ahead or not fits([*group, following.result()]):
                    break
                group.append(next(futures).result())
            yield from work(group)

    with _futures(prepare, items, threads, ahead=ahead) as futures:
        results = Background(groups(futures), ahead=ahead)
        try:
            yield from results
        finally:
            futures.close()
            results.close(wait=True)


@contextmanager
def _futures(
    work: Callable[[T], R],
    items: Iterable[T],
    threads: int,
    *,
    ahead: int,
    initializer: Callable[[], None] | None = None,
) -> Iterator[Background[Future[R]]]:
    """Of all items in their order; up to `ahead` results wait, but few items that are not done."""
    pool = ThreadPoolExecutor(threads, "dualhmr", initializer)
    room, closed = Semaphore(2 * threads), Event()

    def submitted() -> Iterator[Future[R]]:
        source = iter(items)
        while room.acquire() and not closed.is_set():
            try:
                future = pool.submit(work, next(source))
            except StopIteration:
                return
            future.add_done_callback(lambda _: room.release())
            yield future

    futures = Background(submitted(), ahead=ahead)
    try:
        yield futures
    finally:
        closed.set()
        futures.close()
        pool.shutdown(cancel_futures=True)  # of cancelled ones the room is released
