import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.body_file import write_body_file
from helpers.small_bundle import IMAGE_SPEC, SPEC, upright
from helpers.tiny_training import TINY, small_body, train_command

from dualhmr import open_bundle
from dualhmr.body.model import Body
from dualhmr.bundle import write_manifest
from dualhmr.cli import main
from dualhmr.weights import save_weights
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import EvaluationBatch, EvaluationGroup
from dualhmr_training.evaluation.report import evaluation_table, read_evaluation_report
from dualhmr_training.evaluation.run import evaluate
from dualhmr_training.training_folder import (
    DEFAULT_ADAM_RATE,
    Networks,
    training_record,
    write_record,
)


def run(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


def test_prints_a_table_and_writes_json_and_plot(
    pose_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "errors.json", tmp_path / "errors.png"
    arguments = ["--data", "synthetic", "--poses", pose_file, "--noise", 0, 0.05]
    arguments += ["--count", 2, "--max-steps", 2, "--schedule", "paper", "eft"]
    assert run(*arguments, "--json", out, "--plot", plot) == 0
    printed = capsys.readouterr()
    report = read_evaluation_report(out)
    assert printed.out == evaluation_table(report) + "\n"
    assert "noise 0.05: 2 of 2 people" in printed.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert report.options == {"poses": "made_up.npz", "clips": "all", "seed": "7"}
    assert report.engine == f"torch {torch.__version__} cpu"
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
    pose_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, out = tmp_path / "bundle", tmp_path / "errors.json"
    default = open_bundle()
    shutil.copytree(default.folder, bundle)
    write_manifest(bundle, replace(default.manifest, name="another"))
    arguments = [bundle, "--poses", pose_file, "--held-out", "--count", 1, "--max-steps", 2]
    arguments += ["--adam-rate", 1e-5, 2e-5, 1e-5, "--every-step", "--seed", 3]
    assert run(*arguments, "--json", out) == 0
    rows = [row.split(" | ")[1:4] for row in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["trained", rate, step] for rate in ("1e-05", "2e-05") for step in "012"]
    report = read_evaluation_report(out)
    assert report.bundle == "another"
    assert report.options["clips"] == "held out"
    starts = {each.measures["mpjpe_mm"].mean[0] for each in report.evaluations}
    assert len(starts) == 1
    ends = {each.measures["objective"].mean[2] for each in report.evaluations}
    assert len(ends) == 2


def test_descent_rate_and_weights_are_those_given(pose_file: Path, tmp_path: Path) -> None:
    def report(*arguments: object) -> tuple[dict[str, str], list[float]]:
        out = tmp_path / "errors.json"
        common = ["--poses", pose_file, "--count", 1, "--max-steps", 1, "--schedule", "release"]
        assert run(*common, *arguments, "--json", out) == 0
        (evaluation,) = read_evaluation_report(out).evaluations
        return read_evaluation_report(out).options, list(evaluation.measures["objective"].mean)

    _, usual = report()
    told, slow = report("--descent-rate", 1e-12)
    assert told["descent_rate"] == "1e-12"
    assert slow[1] == pytest.approx(slow[0], rel=1e-5)
    assert usual[1] < 0.999 * usual[0]
    pairs = ["--weight", "keypoints_2d=10", "--weight", "rotations=0.5"]
    told, weighted = report(*pairs)
    assert told["weights"] == "keypoints_2d=10 rotations=0.5"
    # The release's later steps have weight 1, whatever the objective's.
    assert weighted[0] == pytest.approx(usual[0], rel=1e-5)
    weight = open_bundle().manifest.weights.keypoints_2d
    (_, eft), (_, heavier) = report("--schedule", "eft"), report("--schedule", "eft", *pairs)
    assert heavier[0] == pytest.approx(10 / weight * eft[0], rel=1e-5)


def test_what_train_wrote_on_a_body_of_ones_own(tmp_path: Path) -> None:
    inner = InnerLoop(losses=("keypoints_2d",))
    config = replace(TINY, auxiliary=None, inner=inner, outer_losses=("keypoints_2d", "camera"))
    assert train_command(config, tmp_path) == 0
    body, out = write_body_file(small_body(), tmp_path / "stick.npz"), tmp_path / "errors.json"
    arguments = [tmp_path / "out", "--body", body, "--poses", tmp_path / "poses.npz", "--count", 9]
    assert run(*arguments, "--max-steps", 2, "--json", out, "--threads", 1) == 0
    report = read_evaluation_report(out)
    assert (report.bundle, report.body) == ("out", "stick_figure")
    (evaluation,) = report.evaluations
    assert (evaluation.schedule, evaluation.adam_rate, evaluation.people) == (
        "eft",
        DEFAULT_ADAM_RATE,
        9,
    )
    assert all(np.isfinite(curve.mean).all() for curve in evaluation.measures.values())


def test_networks_that_read_the_image_see_pictures(
    pose_file: Path, body: Body, tmp_path: Path
) -> None:
    folder, out = tmp_path / "sees", tmp_path / "errors.json"
    folder.mkdir()
    config = replace(TINY, main=IMAGE_SPEC, auxiliary=SPEC)
    write_record(folder, training_record(config, body))
    save_weights(upright(IMAGE_SPEC, 1), folder / "main.safetensors")
    save_weights(upright(SPEC, 2), folder / "auxiliary.safetensors")
    assert run(folder, "--poses", pose_file, "--count", 2, "--max-steps", 1, "--json", out) == 0
    plain = json.loads(out.read_text())
    assert [each["people"] for each in plain["evaluations"]] == [2]
    assert plain["evaluations"][0]["measures"]["mpjpe_mm"]["mean"][0] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "human36m"], "needs --datasets --body --joint-regressor"),
        (["--poses", "absent.npz"], "no pose file at absent.npz"),
        (["--poses", "other.npz"], "not an .npz of plain arrays"),
        (["--poses", "made_up.npz", "--count", "0"], "--count is 0, expected 1 or more"),
        (["--poses", "made_up.npz", "--threads", "0"], "--threads is 0, expected 1 or more"),
        (["--poses", "made_up.npz", "--noise", "2"], "--noise is 2, expected a fraction"),
        (["--poses", "made_up.npz", "--noise", "nan"], "--noise is nan, expected a fraction"),
        (["--poses", "made_up.npz", "--adam-rate", "0"], "--adam-rate is 0, expected more than 0"),
        (["--poses", "made_up.npz", "--descent-rate", "0"], "--descent-rate is 0, expected more"),
        (["--poses", "made_up.npz", "--descent-rate", "inf"], "--descent-rate is inf, expected"),
        (["--poses", "made_up.npz", "--max-steps", "-1"], "max_steps is -1, expected 0 or more"),
        (["--poses", "made_up.npz", "--weight", "joint=1"], "no field --joint; known here are"),
        (["--poses", "made_up.npz", "--weight", "betas=x"], "betas is 'x', expected float"),
        (["--poses", "made_up.npz", "--weight", "betas=-1"], "--weight betas is -1, expected 0"),
        (["--poses", "made_up.npz", "--weight", "betas"], "--betas needs a value after it"),
        (["--poses", "made_up.npz", "--json", "no/where.json"], "cannot write no/where.json"),
        (["--poses", "made_up.npz", "--plot", "."], "cannot write ."),
        (["--poses", "made_up.npz", "--plot", "plot.bmp"], "its suffix must be"),
        (["absent", "--poses", "made_up.npz"], "absent is neither a bundle nor the folder of"),
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
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--data", "--schedule", "--keypoints"):
        with pytest.raises(SystemExit):
            run(option, "papre")
        assert "invalid choice: 'papre'" in capsys.readouterr().err


def test_a_missing_matplotlib_is_found_before_any_work(
    pose_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("--poses", pose_file, "--plot", pose_file.with_suffix(".png")) == 1
    assert capsys.readouterr().err == (
        'dualhmr: the plot needs matplotlib: pip install "dualhmr[plot]"\n'
    )


def test_nobody_to_evaluate_on(
    fitter: BatchFitter, networks: Networks, group: EvaluationGroup
) -> None:
    schedule = networks.facts.schedule.schedule(weights=networks.facts.weights)
    with pytest.raises(ValueError, match="there are no people to evaluate on"):
        evaluate(fitter, replace(group, batches=[]), [schedule])


def test_who_cannot_be_adapted_to_is_named(
    fitter: BatchFitter, networks: Networks, group: EvaluationGroup, batch: EvaluationBatch
) -> None:
    keypoints = batch.evidence.keypoints.clone()
    keypoints[1] = torch.nan
    blurred = batch._replace(evidence=batch.evidence._replace(keypoints=keypoints))
    schedule = networks.facts.schedule.schedule(weights=networks.facts.weights).limited_to(1)
    message = "of the people from number 3 on, person 1: the loss or its gradient is nan"
    with pytest.raises(ValueError, match=message):
        evaluate(fitter, replace(group, batches=[batch, blurred]), [schedule])
