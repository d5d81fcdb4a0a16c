from dataclasses import replace
from pathlib import Path

import pytest
from helpers.accuracy_examples import REPORT, written_report

from dualhmr_benchmarks.claims.reports.report import MeasuredRow, markdown, write_claim_report
from dualhmr_benchmarks.claims.reports.statistics import SeedMeans

GOLDEN = r"""# table5: what training gives

The paper: training with test-time steps helps.

| method | PA-MPJPE, mm | paper | 2D loss, 1e-3 | note |
| --- | --- | --- | --- | --- |
| full | 51.0 ± 1.4 | 37.1 | 1.00 ± 0.00 |  |
| plain\|old | 55.0 |  |  |  |
| rate of 1 |  | 40.0 |  | step 3: the loss was NaN |

Means over people and seeds, ± standard deviation over seeds.

| difference | measure | mean | 95% | by seed | verdict | paper | agrees |
| --- | --- | --- | --- | --- | --- | --- | --- |
| full - plain | PA-MPJPE, mm | -4.00 | [-5.50, -2.50] | -5.00, -3.00 | lower | -2.9 | yes |
| full - plain | 2D loss, 1e-3 | +0.000 | [-0.010, +0.010] | +0.010, -0.010 \
| no difference shown | +0.20 | not shown |
| more steps | PA-MPJPE, mm | +0.25 | [+0.12, +0.38] | +0.25, +0.25 | higher |  |  |

Differences are paired person by person: mean, 95% confidence interval over people, mean of each \
seed. One is shown where the interval and every seed are on the same side of zero. Methods that \
differ by the luck of training alone have 2 seeds on one side of zero one time in 2. People count \
as independent, and are less so where poses come from few clips.

Signs of differences compare, errors do not.

- budget: tiny
- seeds: 1, 2

| recipe | seed | commit | folder |
| --- | --- | --- | --- |
| full | 1 | abc |  |
| plain | 1 |  | runs/b |
""".replace("\\\n", "")


def test_the_whole_text() -> None:
    assert markdown(REPORT) == GOLDEN


def test_a_report_of_lines_alone() -> None:
    one = replace(REPORT, lines=REPORT.lines[1:2], differences=(), trainings=())
    text = markdown(one)
    assert (
        "| method | PA-MPJPE, mm |\n| --- | --- |\n| plain\\|old | 55.0 |\n\nMeans over people.\n"
        in text
    )
    assert "difference |" not in text
    assert text.endswith("- seeds: 1, 2\n")


def test_one_seed_is_said_to_be_one() -> None:
    lucky = replace(REPORT.differences[0], by_seed=(-4.0,))
    text = markdown(replace(REPORT, differences=(lucky,)))
    assert "One seed cannot tell a method from the luck of its training." in text


def test_intervals_over_clips_are_said_to_be() -> None:
    of_clips = replace(REPORT.differences[0], clips=15)
    text = markdown(replace(REPORT, differences=(of_clips,)))
    assert "95% confidence interval over 15 clips, mean of each seed" in text
    assert "Clips count as independent, people of one clip do not." in text
    assert "over people, mean" not in text


def test_measures_that_tables_do_not_know() -> None:
    line = MeasuredRow("full", {"objective": SeedMeans((0.5,)), "mpjpe_mm": SeedMeans((70.0,))}, {})
    assert "| method | MPJPE, mm | objective |" in markdown(replace(REPORT, lines=(line,)))
    assert "| full | 70.0 | 0.5000 |" in markdown(replace(REPORT, lines=(line,)))


def test_reports_come_back(tmp_path: Path) -> None:
    write_claim_report(REPORT, tmp_path / "new" / "table5")
    assert written_report(tmp_path / "new" / "table5") == REPORT
    assert (tmp_path / "new" / "table5" / "table.md").read_text("utf-8") == GOLDEN


def test_numbers_that_are_none_leave_nothing_behind(tmp_path: Path) -> None:
    broken = replace(
        REPORT, lines=(MeasuredRow("full", {"pve_mm": SeedMeans((float("nan"),))}, {}),)
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_claim_report(broken, tmp_path)
    assert not list(tmp_path.iterdir())
