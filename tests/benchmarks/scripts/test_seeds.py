"""`benchmarks/scripts/seeds.py`, which is no package."""

from dataclasses import asdict, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from dualhmr.files import write_json
from dualhmr_training.evaluation.report import ErrorCurve, Evaluation, EvaluationReport

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "seeds.py"


@pytest.fixture(scope="module")
def seeds() -> ModuleType:
    spec = spec_from_file_location("seeds", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(before: float, after: float, schedule: str) -> EvaluationReport:
    """PA-MPJPE is half of MPJPE."""
    measures = {
        "mpjpe_mm": ErrorCurve((before, after), None, None),
        "pa_mpjpe_mm": ErrorCurve((before / 2, after / 2), None, None),
    }
    evaluation = Evaluation("noise 0", schedule, 1e-4, 1, 9, 1.0, {}, measures, {})
    return EvaluationReport("run", "body", "torch", "synthetic", {"seed": "7"}, (evaluation,))


def write(folder: Path, reports: list[EvaluationReport]) -> list[str]:
    paths = [folder / f"{index}.json" for index in range(len(reports))]
    for path, each in zip(paths, reports, strict=True):
        write_json(path, asdict(each))
    return [str(path) for path in paths]


def test_means_spreads_and_differences(
    seeds: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ordinary = [report(100, 80, "paper"), report(104, 88, "paper")]
    meta = [report(98, 78, "trained"), report(102, 82, "trained")]
    files = write(tmp_path, ordinary + meta)
    seeds.main(["--group", "ordinary", *files[:2], "--group", "meta", *files[2:]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| keypoints | adapted to | ordinary | meta | meta - ordinary |"
    # Differences of -2, -2, and of -2, -6; two numbers deviate by |a - b| over the root of two.
    assert lines[2] == (
        "| noise 0 | before adaptation | 102.0 ± 2.8 / 51.0 ± 1.4 | 100.0 ± 2.8 / 50.0 ± 1.4 "
        "| -2.0 ± 0.0 / -1.0 ± 0.0 |"
    )
    assert lines[3] == (
        "| noise 0 | keypoints and pseudo mesh | 84.0 ± 5.7 / 42.0 ± 2.8 | 80.0 ± 2.8 / 40.0 ± 1.4 "
        "| -4.0 ± 2.8 / -2.0 ± 1.4 |"
    )
    assert len(lines) == 4


def test_what_does_not_compare(seeds: ModuleType, tmp_path: Path) -> None:
    plain = report(100, 80, "paper")
    other_people = replace(plain, options={"seed": "8"})
    files = write(tmp_path, [plain, plain, other_people, report(100, 80, "eft")])
    with pytest.raises(ValueError, match="these evaluations are on different people"):
        seeds.main(["--group", "a", files[0], files[2]])
    with pytest.raises(ValueError, match="of a group differ in keypoints or schedules"):
        seeds.main(["--group", "a", files[0], files[3]])
    with pytest.raises(ValueError, match="the groups differ in keypoints or in what they adapt"):
        seeds.main(["--group", "a", *files[:2], "--group", "b", files[3], files[3]])
    twice = replace(plain, evaluations=plain.evaluations * 2)
    with pytest.raises(ValueError, match="more than one schedule or rate"):
        seeds.errors_of(twice)


@pytest.mark.parametrize("count", [0, 1])
def test_a_spread_needs_two_seeds(
    seeds: ModuleType, tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write(tmp_path, [report(100, 80, "paper")] * count)
    with pytest.raises(SystemExit):
        seeds.main(["--group", "a", *files])
    assert "the same number of files, 2 or more" in capsys.readouterr().err
