"""Work in several processes, as trainings and evaluations are done."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from dualhmr_benchmarks.claims.experiments.parallel import run_all


def note(folder: Path, task: int) -> None:
    """Leaves a file behind; refuses the number 3."""
    if task == 3:
        raise FloatingPointError("not this one")
    (folder / str(task)).write_text(f"{os.getpid()} {torch.get_num_threads()}")


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_once(jobs: int, tmp_path: Path) -> None:
    said: list[str] = []
    run_all(partial(note, tmp_path), [5, 6, 7], jobs=jobs, say=said.append)
    assert {path.name for path in tmp_path.iterdir()} == {"5", "6", "7"}
    found = [path.read_text().split() for path in tmp_path.iterdir()]
    here = str(os.getpid())
    assert all((process == here) == (jobs == 1) for process, _ in found)
    if jobs > 1:
        assert all(threads == "1" for _, threads in found)
    assert [each.partition(":")[0] for each in said] == [f"{n} of 3 done" for n in (1, 2, 3)]
    assert sorted(each[-1] for each in said) == ["5", "6", "7"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_fails_ends_it(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="not this one"):
        run_all(partial(note, tmp_path), [3, *range(4, 400)], jobs=jobs, say=lambda _said: None)
    assert len(list(tmp_path.iterdir())) < 390


def test_nothing_to_do() -> None:
    run_all(partial(note, Path()), [], jobs=2, say=pytest.fail)
