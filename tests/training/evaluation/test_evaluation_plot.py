import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dualhmr_training.evaluation.plot import write_evaluation_plot
from dualhmr_training.evaluation.report import ErrorCurve, Evaluation, EvaluationReport
from dualhmr_training.plotting import check_plot


def evaluation(schedule: str, keypoints: str, *, people: int = 5, rate: float = 1e-4) -> Evaluation:
    errors = (0.0, 1.0, 2.0) if people > 1 else None
    curve = ErrorCurve((90.0, 85.0, 84.0), errors, errors)
    measures = {"mpjpe_mm": curve, "pa_mpjpe_mm": curve}
    return Evaluation(keypoints, schedule, rate, 2, people, 2.0, {}, measures, {})


def report(*evaluations: Evaluation) -> EvaluationReport:
    return EvaluationReport("small", "a body", "none", "synthetic", {}, evaluations)


@pytest.mark.parametrize(
    "evaluations",
    [
        [evaluation("paper", "noise 0", people=1)],
        [evaluation("paper", "noise 0"), evaluation("eft", "noise 0", rate=2e-4)],
        [evaluation(name, f"noise {n}") for n in range(6) for name in ("paper", "eft", "release")],
        [evaluation("paper", "noise 0", rate=rate * 1e-5) for rate in range(1, 10)],
    ],
)
def test_the_plot_is_a_picture(evaluations: list[Evaluation], tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    write_evaluation_plot(report(*evaluations), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with Image.open(path) as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1_000_000)) > 20


def test_the_suffix_says_what_is_written(tmp_path: Path) -> None:
    write_evaluation_plot(report(evaluation("paper", "noise 0")), tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert "<svg" in text
    with pytest.raises(ValueError, match=r"its suffix must be \.png, \.pdf, \.svg"):
        check_plot(tmp_path / "plot.bmp")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "dualhmr\[plot\]"'):
        check_plot("plot.png")


def test_matplotlib_is_loaded_only_for_plots() -> None:
    program = "import sys, dualhmr_training.evaluation.run\nprint('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
