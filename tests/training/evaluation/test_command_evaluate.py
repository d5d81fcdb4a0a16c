import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_bundle import IMAGE_SPEC

from dualhmr import Recoverer
from dualhmr.cli import main
from dualhmr.manifest import write_manifest
from dualhmr_training.evaluation import command_evaluate
from dualhmr_training.evaluation.evaluate import evaluate
from dualhmr_training.evaluation.report import read_json, table
from dualhmr_training.evaluation.subjects import ComparedJoints


def test_prints_a_table_and_writes_json_and_plot(
    pose_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "errors.json", tmp_path / "errors.png"
    arguments = ["evaluate", "--data", "synthetic", "--poses", pose_file, "--noise", 0, 0.05]
    arguments += ["--count", 2, "--max-steps", 2, "--schedule", "paper", "eft"]
    assert main([*map(str, arguments), "--json", str(out), "--plot", str(plot)]) == 0
    printed = capsys.readouterr()
    report = read_json(out)
    assert printed.out == table(report) + "\n"
    assert "noise 0.05: 2 of 2 people" in printed.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert report.options == {"poses": "made_up.npz", "clips": "all", "seed": "7"}
    pairs = [(each.keypoints, each.schedule) for each in report.evaluations]
    assert pairs == [(f"noise {n}", name) for n in ("0", "0.05") for name in ("paper", "eft")]
    for each in report.evaluations:
        assert (each.people, each.max_steps, len(each.joints)) == (2, 2, 24)
        assert {len(curve.mean) for curve in each.measures.values()} == {3}
        assert each.joints["pelvis"].mpjpe_after == 0
        on_joints = np.mean([joint.mpjpe_after for joint in each.joints.values()])
        assert on_joints == pytest.approx(each.measures["mpjpe_mm"].mean[-1])
    exact, _, noisy, _ = (each.measures for each in report.evaluations)
    assert exact["true_2d_percent"].mean == pytest.approx(exact["given_2d_percent"].mean, rel=1e-3)
    assert noisy["true_2d_percent"].mean != pytest.approx(noisy["given_2d_percent"].mean, rel=1e-2)


def test_a_bundle_at_several_rates_on_held_out_poses(
    pose_file: Path, recoverer: Recoverer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = tmp_path / "bundle", tmp_path / "errors.json"
    shutil.copytree(recoverer.bundle.folder, bundle)
    write_manifest(bundle, replace(recoverer.bundle.manifest, name="another"))
    arguments = ["evaluate", bundle, "--poses", pose_file, "--held-out", "--count", 1]
    arguments += ["--max-steps", 1, "--adam-rate", 1e-5, 2e-5, 1e-5, "--every-step", "--seed", 3]
    assert main([*map(str, arguments), "--json", str(out)]) == 0
    rows = [row.split(" | ")[1:4] for row in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["paper", rate, step] for rate in ("1e-05", "2e-05") for step in "01"]
    report = read_json(out)
    assert report.bundle == "another"
    assert report.options["clips"] == "held out"
    starts = {each.measures["mpjpe_mm"].mean[0] for each in report.evaluations}
    assert len(starts) == 1
    ends = {each.measures["objective"].mean[1] for each in report.evaluations}
    assert len(ends) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data synthetic needs --poses FILE.npz"),
        (["--poses", "absent.npz"], "no pose file at absent.npz"),
        (["--poses", "other.npz"], "is not an .npz file"),
        (["--poses", "made_up.npz", "--count", "0"], "--count is 0, expected 1 or more"),
        (["--poses", "made_up.npz", "--noise", "2"], "--noise is 2, expected a fraction"),
        (["--poses", "made_up.npz", "--noise", "nan"], "--noise is nan, expected a fraction"),
        (["--poses", "made_up.npz", "--adam-rate", "0"], "--adam-rate is 0, expected more than 0"),
        (["--poses", "made_up.npz", "--max-steps", "-1"], "max_steps is -1, expected 0 or more"),
        (["--poses", "made_up.npz", "--json", "no/where.json"], "cannot write no/where.json"),
        (["--poses", "made_up.npz", "--plot", "."], "cannot write ."),
        (["--poses", "made_up.npz", "--plot", "plot.bmp"], "its suffix must be"),
        (["absent", "--poses", "made_up.npz"], "absent"),
    ],
)
def test_bad_input_is_one_line(
    pose_file: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pose_file.parent)
    Path("other.npz").write_text("not poses")
    assert main(["evaluate", *arguments]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--data", "--schedule"):
        with pytest.raises(SystemExit):
            main(["evaluate", option, "papre"])
        assert "invalid choice: 'papre'" in capsys.readouterr().err


def test_a_missing_matplotlib_is_found_before_any_work(
    pose_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["evaluate", "--poses", pose_file, "--plot", pose_file.with_suffix(".png")]
    assert main([*map(str, arguments)]) == 1
    assert capsys.readouterr().err == (
        'dualhmr: the plot needs matplotlib: pip install "dualhmr[plot]"\n'
    )


def test_a_bundle_that_reads_the_image(
    pose_file: Path,
    recoverer: Recoverer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = replace(recoverer.bundle.manifest, main=IMAGE_SPEC)
    sees = SimpleNamespace(bundle=replace(recoverer.bundle, manifest=manifest))
    monkeypatch.setattr(command_evaluate, "Recoverer", lambda *_, **__: sees)
    assert main(["evaluate", "--poses", str(pose_file)]) == 1
    assert "read the image, and synthetic people have none" in capsys.readouterr().err


def test_nobody_to_evaluate_on(recoverer: Recoverer, joints: ComparedJoints) -> None:
    schedule = recoverer.bundle.manifest.schedule.schedule()
    with pytest.raises(ValueError, match="there is nobody to evaluate on"):
        evaluate(recoverer, [], [schedule], joints, keypoints="none")
