"""Long work in several processes of one thread each."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch

T = TypeVar("T")


def run_all(
    work: Callable[[T], None], tasks: Sequence[T], *, jobs: int, say: Callable[[str], None]
) -> None:
    """Calls `work` on every task, `jobs` at a time, and reports progress with `say`.

    With one job it runs in this process. The first exception is raised once the tasks in progress
    have ended; tasks that wait are cancelled.
    """
    for done, task in enumerate(_finished(work, tasks, jobs), start=1):
        say(f"{done} of {len(tasks)} done: {task}")


def _finished(work: Callable[[T], None], tasks: Sequence[T], jobs: int) -> Iterator[T]:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            work(task)
            yield task
        return
    # A forked process would inherit locks that PyTorch's threads hold, and wait for them forever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        running = {pool.submit(work, task): task for task in tasks}
        try:
            for future in as_completed(running):
                future.result()
                yield running[future]
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    torch.set_num_threads(1)
    # Progress bars of several processes overwrite each other.
    os.environ["TQDM_DISABLE"] = "1"
