"""Functions run in processes of their own, which can be killed, and in which several can train."""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch

KILLED = -signal.SIGKILL
# Forks of one process that has PyTorch loaded and has done nothing with it: cheap, and safe.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "dualhmr_training.dataset_training",
        "dualhmr_training.synthetic_training",
        "torch._dynamo",
        "numba.np.arraymath",  # the last two: what drawing pictures loads
        "scipy.linalg",
    ]
)


def run(function: Callable[..., Any], *arguments: object) -> int:
    """Runs a module's function in a process; its exit status, `KILLED` if it was killed."""
    return _ended(_started(function, *arguments))


def run_together(count: int, function: Callable[..., Any], *arguments: object) -> list[int]:
    """Runs `function(process, *arguments)` in `count` processes that torch.distributed can join."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [
        _started(_joined, process, count, port, function, *arguments) for process in range(count)
    ]
    return [_ended(child) for child in children]


def kill_this_process() -> None:
    """As `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _started(function: Callable[..., Any], *arguments: object) -> BaseProcess:
    child = _CONTEXT.Process(target=_on_one_thread, args=(function, *arguments))
    child.start()
    return child


def _ended(child: BaseProcess) -> int:
    child.join(120)
    if child.exitcode is None:
        child.kill()
        child.join()
        raise TimeoutError("a child process hangs")
    status = child.exitcode
    child.close()
    return status


def _on_one_thread(function: Callable[..., Any], *arguments: object) -> None:
    torch.set_num_threads(1)
    function(*arguments)


def _joined(
    process: int, count: int, port: int, function: Callable[..., Any], *arguments: object
) -> None:
    """What torchrun sets, for sockets on this machine only."""
    os.environ |= {
        "RANK": str(process),
        "LOCAL_RANK": str(process),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    function(process, *arguments)
