"""The workers of a job as actors of a Ray cluster, which restarts those that are lost."""

import importlib
import os
import tempfile
from dataclasses import replace
from typing import Any

from dualhmr.jobs.crew import Result
from dualhmr.jobs.items import JobItem
from dualhmr.jobs.worker import JobWorker

LOCAL = ""
"""The address of a Ray of our own on this machine, which ends with the job."""


class RayCrew:
    """See `Crew`. All machines must see the inputs and the job's folder by the same paths."""

    def __init__(self, worker: JobWorker, size: int | None, *, address: str) -> None:
        """Connects to the cluster at `address`, and asks it for `size` actors (None: all it has).

        Each actor takes `threads` CPUs, and a GPU where the job's device is one.

        Raises ImportError without Ray, ConnectionError where no cluster answers, and ValueError for
        a cluster that has no place for an actor.
        """
        self._ray = ray = _load_ray()
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, address)
        gpus = (
            ray.cluster_resources().get("GPU", 0)
            if worker.options.device not in (None, "cpu")
            else 0
        )
        cpus = ray.cluster_resources().get("CPU", 0)
        places = int(gpus or cpus // worker.options.threads)
        if places < 1:
            self.close()
            raise ValueError(
                f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs, too few for one process of "
                f"{worker.options.threads} threads on {worker.options.device or 'cpu'}"
            )
        self.size = min(size or places, places)
        self._worker = worker
        self._actor = ray.remote(
            num_cpus=worker.options.threads, num_gpus=1 if gpus else 0, max_restarts=-1
        )(_Actor)
        self._actors = [self._actor.remote(worker) for _ in range(self.size)]
        self._tasks: dict[Any, int] = {}

    def give(self, number: int, item: JobItem) -> None:
        """See `Crew`."""
        self._tasks[self._actors[number].work.remote(item)] = number

    def finished(self) -> list[tuple[int, Result]]:
        """See `Crew`."""
        (task, *_), _ = self._ray.wait(list(self._tasks), num_returns=1)
        number = self._tasks.pop(task)
        try:
            return [(number, self._ray.get(task))]
        except self._ray.exceptions.RayError as error:
            return [(number, str(error).strip().splitlines()[0])]

    def renew(self, number: int, *, again: bool) -> None:
        """See `Crew`."""
        self._ray.kill(self._actors[number])
        self._actors[number] = self._actor.remote(replace(self._worker, renews=again))

    def close(self) -> None:
        """See `Crew`."""
        for actor in getattr(self, "_actors", []):
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()


class _Actor:
    """Runs in a process of Ray's."""

    def __init__(self, worker: JobWorker) -> None:
        self._worker = worker

    def work(self, item: JobItem) -> Result:
        try:
            return self._worker(item)
        except Exception as error:  # which all items would have
            return error


def _connect(ray: Any, address: str) -> None:
    if address == LOCAL:
        # A Ray of our own reports to nobody. Items and outcomes are small, and so is its store,
        # and not in shared memory, of which containers have little.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=100 * 2**20,
            _plasma_directory=tempfile.gettempdir(),
        )
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError) as error:
        raise ConnectionError(f"no Ray cluster answers at {address}: {error}") from error


def _load_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(f'a cluster needs Ray ({error}): pip install "dualhmr[ray]"') from error
