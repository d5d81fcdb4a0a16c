"""`benchmarks/scripts/throughput.py`, which is no package."""

import io
import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "throughput.py"


@pytest.fixture(scope="module")
def throughput() -> ModuleType:
    spec = spec_from_file_location("throughput", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ways_take_turns_and_a_table_has_medians(
    throughput: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    turns = {throughput.LOOP: iter([9.0, 2, 4, 3]), throughput.BATCH: iter([9.0, 1, 2, 1])}

    class Child:
        def __init__(self, way: str) -> None:
            self.way = way

        def communicate(self) -> None:
            pass

    monkeypatch.setattr(throughput, "_child", lambda way, *_: Child(way))
    monkeypatch.setattr(throughput, "_turn", lambda child, _: next(turns[child.way]))
    throughput.main(["--cores", "2", "--people", "6", "--rounds", "3"])
    assert "| default | 2 | 6 | 2.0 | 6.0 | 2.00 |" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["one at a time", "batch"])
def test_a_child_answers_with_seconds(
    way: str,
    throughput: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n1\n"))
    throughput.main(["--turns", way, "", "--cores", "2", "--crowd"])
    assert all(0 < float(line) < 60 for line in capsys.readouterr().out.splitlines())
