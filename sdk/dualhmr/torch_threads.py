"""How many threads PyTorch computes with on a CPU: set for one thread alone, and after a fork.

PyTorch keeps two numbers: that of the calling thread, and the default of threads that have not used
it yet. `torch.set_num_threads` sets both, so two threads that set and restore it at once leave the
wrong default behind, for good.

OpenMP's worker threads do not survive a fork. The first operation of a forked process that shares
its work among them waits forever. Operations on one thread do not.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

_locks: dict[int, threading.Lock] = {}
"""By process: another thread may have held the lock at the moment of a fork."""


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread in the block, in the calling thread only."""
    own = set_own_threads(1)
    try:
        yield
    finally:
        set_own_threads(own)


@contextmanager
def usable_threads() -> Iterator[None]:
    """One thread in a forked process, where there may be no others; else as many as ever."""
    if not is_fork():
        yield
        return
    with one_thread():
        yield


def set_own_threads(number: int) -> int:
    """`torch.set_num_threads` that leaves the default of other threads as it is.

    Returns the calling thread's number before.
    """
    # The first call of a thread takes over the default, which is wrong while another sets its own.
    with _locks.setdefault(os.getpid(), threading.Lock()):
        before = torch.get_num_threads()
        if before != number:
            # A thread that has not used PyTorch is what can read the default, and put it back.
            with ThreadPoolExecutor(1) as fresh:
                default = fresh.submit(torch.get_num_threads).result()
                torch.set_num_threads(number)
                fresh.submit(torch.set_num_threads, default).result()
    return before


def is_fork() -> bool:
    """Whether this process is a fork of one that may have used PyTorch."""
    return os.getpid() != _imported_by or _was_fork_at_import


def _forked_without_exec() -> bool:
    """On Linux, whether this process was forked and has not started a program since."""
    try:
        status = Path("/proc/self/stat").read_text()
    except OSError:
        return False
    # Numbers after the name, which stands in brackets and may hold any character; see proc(5).
    flags = status.rpartition(")")[2].split()[6]
    return bool(int(flags) & 0x40)  # PF_FORKNOEXEC


_imported_by, _was_fork_at_import = os.getpid(), _forked_without_exec()
