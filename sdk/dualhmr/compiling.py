"""Loops over arrays, compiled by numba. Importing this module does not import numba."""

import hashlib
import importlib
import importlib.util
import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

Kernel: TypeAlias = Callable[..., Any]

# All of fastmath's rewrites, except the two that assume that NaN and infinity do not occur.
NAN_SAFE_FASTMATH = ("contract", "arcp", "nsz", "reassoc", "afn")

INSTALL_NUMBA = 'pip install "dualhmr[fast]"'
_log = logging.getLogger("dualhmr")


def numba_installed() -> bool:
    """Whether numba can be imported. Does not import it."""
    return importlib.util.find_spec("numba") is not None


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class WorkerThreads:
    """Threads that do pieces of work together with the one that asks for it.

    They are made when first used. One work is shared at a time; whoever asks meanwhile does it
    alone, so a program that already uses its cores is not slowed down. Nobody waits for a thread
    that has not begun: a busy core costs nothing.
    """

    def __init__(self, count: int) -> None:
        """`count` includes the thread that asks."""
        self._count = count
        self._lock = threading.Lock()
        self._inbox: SimpleQueue[_SharedWork | None] | None = None
        self._process = 0

    def run(self, work: Callable[[int], object], parts: int) -> None:
        """Calls `work` with 0, 1 ... `parts` - 1, each once; raises what one of them raises."""
        if parts < 2 or self._count < 2 or not self._lock.acquire(blocking=False):
            for part in range(parts):
                work(part)
            return
        try:
            shared = _SharedWork(work, parts)
            inbox = self._open_inbox()
            for _ in range(min(self._count, parts) - 1):
                inbox.put(shared)
            shared.do()
            shared.wait()
        finally:
            self._lock.release()

    def _open_inbox(self) -> "SimpleQueue[_SharedWork | None]":
        # A forked process has a copy of this object, but not of its threads.
        if self._inbox is None or self._process != os.getpid():
            self._inbox, self._process = SimpleQueue(), os.getpid()
            for _ in range(self._count - 1):
                thread = threading.Thread(target=_serve, args=(self._inbox,), daemon=True)
                thread.start()
                weakref.finalize(self, self._inbox.put, None)
        return self._inbox


class _SharedWork:
    """Pieces that several threads take from each other."""

    def __init__(self, work: Callable[[int], object], parts: int) -> None:
        self._work, self._missing = work, parts
        self._parts = iter(range(parts))
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def do(self) -> None:
        for part in self._parts:
            error: BaseException | None = None
            try:
                self._work(part)
            except BaseException as raised:
                error = raised
            self._ends.put(error)

    def wait(self) -> None:
        errors = [self._ends.get() for _ in range(self._missing)]
        for error in errors:
            if error is not None:
                raise error


def _serve(inbox: "SimpleQueue[_SharedWork | None]") -> None:
    while (shared := inbox.get()) is not None:
        shared.do()
        del shared  # it holds a person's arrays


def load_numba() -> Any:
    """The module, which takes long to load. Raises ImportError that says what to install."""
    try:
        return importlib.import_module("numba")
    except ImportError as error:
        raise ImportError(f"compiled loops need numba ({error}): {INSTALL_NUMBA}") from error


def compiled_loop(function: Kernel, *, fastmath: Collection[str] = NAN_SAFE_FASTMATH) -> Kernel:
    """Decorate a loop: numba compiles it at its first call and releases the GIL while it runs.

    The machine code is cached on disk, unless there is no folder that can be written.
    """
    numba = load_numba()

    # numba looks at the file of this function alone to find out whether its cache is stale. So the
    # file name of the cache, which has the function's name, says what other code went into it.
    function.__qualname__ += f"_{_fingerprint(function)}"
    try:
        kernel: Kernel = numba.njit(function, cache=True, **_options(fastmath))
    except RuntimeError:  # numba finds no folder for the cache
        kernel = numba.njit(function, **_options(fastmath))
    _loops.append(kernel)
    return kernel


_loops: list[Any] = []


def compiled_anew() -> bool:
    """Whether this process compiled a loop, which the next process takes from the disk.

    Machine code just compiled and the same from the disk can round differently.
    """
    stats = (loop.stats for loop in _loops)
    return any(each.cache_path and sum(each.cache_misses.values()) for each in stats)


def compiled_part(function: Kernel, *, fastmath: Collection[str] = NAN_SAFE_FASTMATH) -> Kernel:
    """Decorate what other compiled loops call; it has no cache of its own."""
    kernel: Kernel = load_numba().njit(function, no_cpython_wrapper=True, **_options(fastmath))
    return kernel


def numba_version() -> str:
    """That of the installed numba."""
    return str(load_numba().__version__)


def announce_compiling(kernel: Kernel, what: str) -> None:
    """Logs that the first call of `kernel` will take a while, unless its code is on the disk."""
    folder = kernel.stats.cache_path  # type: ignore[attr-defined]
    name = kernel.py_func.__qualname__  # type: ignore[attr-defined]
    if folder is None or not any(Path(folder).glob(f"*{name}-*.nbi")):
        kept = "; the next start takes it from the disk" if folder else ""
        _log.warning("compiling %s for this computer, which takes a few seconds%s", what, kept)


def _options(fastmath: Collection[str]) -> dict[str, Any]:
    # error_model: a division by zero gives infinity or NaN, as in NumPy, and is not checked for.
    # Nobody calls it from C; without a wrapper for that there is less to compile.
    return {
        "nogil": True,
        "fastmath": set(fastmath),
        "error_model": "numpy",
        "no_cfunc_wrapper": True,
    }


def _fingerprint(function: Kernel) -> str:
    """Of the code of a function and of all compiled functions and numbers that it uses."""
    digest = hashlib.sha256()
    for part in _codes(function, set()):
        digest.update(repr(part).encode())
    return digest.hexdigest()[:12]


def _codes(function: Kernel, seen: set[int]) -> Iterator[object]:
    code = function.__code__
    seen.add(id(code))
    yield code.co_code, code.co_names, [each for each in code.co_consts if _is_plain(each)]
    for name in code.co_names:
        value = function.__globals__.get(name)
        own = getattr(value, "py_func", None)  # of a compiled function
        if own is not None and id(own.__code__) not in seen:
            yield from _codes(own, seen)
        elif _is_plain(value):
            yield name, value


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str | tuple)
