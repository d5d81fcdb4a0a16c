"""The script for a day with a GPU, on the CPU."""

import json
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dualhmr_benchmarks.latency.gpu_stages import MOST_MM, Stage, stages

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "gpu_day.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("gpu_day", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given(monkeypatch: pytest.MonkeyPatch, script: ModuleType, **stages: Any) -> None:
    """Other stages: results, or errors to raise."""

    def take(result: Any) -> dict[str, Any]:
        if isinstance(result, Exception):
            raise result
        return dict(result)

    monkeypatch.setattr(
        script,
        "stages",
        lambda _day: {
            name: Stage(lambda result=result: take(result), 30) for name, result in stages.items()
        },
    )


def run(script: ModuleType, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    code = script.main(["--out", str(folder), "--device", "cpu", "--quick", *more])
    return code, json.loads((folder / "gpu_day.json").read_text())


def test_from_end_to_end(script: ModuleType, tmp_path: Path) -> None:
    code, results = run(script, tmp_path)
    assert code == 0
    assert list(results)[:2] == ["machine", "parity default default"]
    for way in ("default", "onnx"):
        assert results[f"parity default {way}"]["holds"]
        assert results[f"parity default {way}"]["mm"] < MOST_MM
    for count in ("1", "2"):
        assert results["steps default"]["persons"][count]["stages_ms"]["all"] > 0
    assert "torch" in results["machine"]["packages"]
    assert results["engine onnxruntime"]["holds"]
    assert "TensorRT runs on" in results["engine tensorrt"]["not_here"]
    assert "in place of onnxruntime" in results["engine onnxruntime-tensorrt"]["not_here"]
    assert results["adaptation in tensorrt"]["not_here"] == "TensorRT needs a GPU"
    assert results["paper default"]["structured"] > 0
    assert (tmp_path / "gpu_day.png").stat().st_size > 1000


def test_what_is_done_is_not_done_again(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(
        monkeypatch,
        script,
        one={"ms": 1},
        two=RuntimeError("CUDA error: out of memory"),
        three=ImportError("no cupy"),
    )
    code, first = run(script, tmp_path)
    assert code == 1
    assert first["one"]["ms"] == 1
    assert "out of memory" in first["two"]["error"]
    assert "raise result" in first["two"]["trace"]
    assert first["three"]["not_here"] == "no cupy"
    given(monkeypatch, script, one={"ms": 2}, two={"ms": 3}, three={"ms": float("nan")})
    code, second = run(script, tmp_path)
    assert code == 0
    assert [second[name]["ms"] for name in ("one", "two", "three")] == [1, 3, "NaN"]


def test_a_wrong_result_is_said(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given(monkeypatch, script, parity={"graphs": {"mm": 3.0, "holds": False}}, rest={"ms": 1})
    code, _ = run(script, tmp_path)
    assert code == 1
    assert capsys.readouterr().out.splitlines() == ["parity: WRONG", "rest: done"]


def test_time_that_is_up_leaves_the_rest_for_later(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, script, one={"ms": 1})
    code, results = run(script, tmp_path, "--minutes", "0.4")
    assert code == 0
    assert results["one"]["left_out"].startswith("it may take 30 s, and 2")
    assert "run it again" in results["one"]["left_out"]
    assert run(script, tmp_path)[1]["one"]["ms"] == 1


def test_all_fits_into_eight_minutes_and_time_left_over_is_used(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 420 < sum(stage.seconds for stage in stages(script.Day(tmp_path)).values()) <= 480
    given(monkeypatch, script, one={}, two={}, three={})
    clock, allowed = [0.0], list[float]()
    monkeypatch.setattr(script.time, "perf_counter", lambda: clock[0])

    def taken(total: float, *takes: float) -> list[float]:
        rest = iter(takes)

        def take(_: Any, stage: str, seconds: float) -> dict[str, Any]:  # noqa: ARG001
            allowed.append(seconds)
            clock[0] += next(rest)
            return {"error": "not done"}

        allowed.clear()
        monkeypatch.setattr(script, "_take_apart", take)
        results = dict(script.take_all(script.Day(tmp_path), total / 60))
        assert [name for name, result in results.items() if "left_out" in result] == (
            ["three"] if len(takes) < 3 else []
        )
        return allowed

    assert taken(90, 10, 40, 20) == [30, 50, 40]
    assert taken(75, 30, 30) == [30, 30]


def test_a_stage_that_hangs_or_dies_ends_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Any] = [
        subprocess.TimeoutExpired("x", 5),
        subprocess.CompletedProcess([], -11, "", "Segmentation fault"),
        subprocess.CompletedProcess([], 0, 'a warning\n{"ms": 1}\n', ""),
    ]

    def end(command: list[str], **settings: Any) -> Any:
        assert command[-2:] == ["--stage", "steps default"]
        assert settings["timeout"] == 5
        if isinstance(ended := ends.pop(0), Exception):
            raise ended
        return ended

    monkeypatch.setattr(subprocess, "run", end)
    day = script.Day(tmp_path)
    taken = [script._take_apart(day, "steps default", 5) for _ in range(3)]
    assert taken[0] == {"error": "not done after 5 s"}
    assert taken[1] == {"error": "ended with -11", "trace": "Segmentation fault"}
    assert taken[2] == {"ms": 1}
