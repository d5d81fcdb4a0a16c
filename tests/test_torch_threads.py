"""PyTorch's threads, when several threads adapt at once and after a fork."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import torch

from dualhmr import Recoverer
from dualhmr.example import example
from dualhmr.torch_threads import is_fork, one_thread, usable_threads

T = TypeVar("T")


def in_new_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as new:
        return new.submit(function).result()


@pytest.fixture(autouse=True)
def _three_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_only_the_calling_thread_has_one() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        assert in_new_thread(torch.get_num_threads) == 3
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == in_new_thread(torch.get_num_threads) == 3


def test_a_failure_restores_the_number() -> None:
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 3


def test_threads_that_come_and_go_at_once() -> None:
    count, found = 6, []
    start = threading.Barrier(count)

    def often() -> None:
        start.wait()
        for _ in range(30):
            with one_thread():
                found.append(torch.get_num_threads())
        found.append(torch.get_num_threads() - 2)

    with ThreadPoolExecutor(count) as together:
        for done in [together.submit(often) for _ in range(count)]:
            done.result()
    assert set(found) == {1}
    assert torch.get_num_threads() == in_new_thread(torch.get_num_threads) == 3


def test_the_number_after_two_threads_have_recovered() -> None:
    recoverer, (photo, keypoints) = Recoverer(adaptation="torch"), example()

    def recover(_: int) -> int:
        recoverer.recover(photo, keypoints, max_steps=2)
        return torch.get_num_threads()

    with ThreadPoolExecutor(2) as together:
        assert set(together.map(recover, range(4))) == {3}
    assert torch.get_num_threads() == in_new_thread(torch.get_num_threads) == 3


def test_this_process_is_no_fork() -> None:
    assert not is_fork()
    with usable_threads():
        assert torch.get_num_threads() == 3


FORK = """
import os, signal, sys
{before}
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        {after}
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
POOL = "import torch; torch.set_num_threads(3); torch.ones(10**7).sum()"
RECOVER = "import dualhmr, dualhmr.example; {made}.recover(*dualhmr.example.example(), max_steps=2)"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        # PyTorch's pool runs in the parent before it knows dualhmr, or after.
        (POOL, RECOVER.format(made="dualhmr.Recoverer()")),
        (POOL, RECOVER.format(made='dualhmr.Recoverer(backend="torch", scope="all")')),
        (
            RECOVER.format(made="dualhmr.Recoverer()") + "\n" + POOL,
            RECOVER.format(made='dualhmr.Recoverer(backend="torch")'),
        ),
        (POOL, "import dualhmr; dualhmr.load_body()"),
    ],
)
def test_forks_do_not_wait_for_threads_that_are_gone(before: str, after: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK.format(before=before, after=after)],
        env=os.environ | {"OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
