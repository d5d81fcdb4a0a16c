import argparse
import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_training import ORDINARY, train_command, write_poses

from dualhmr.cli import main
from dualhmr.plain_data import from_plain
from dualhmr_training.cli import train as command_train
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.data.synthetic.people import Population, wide_population
from dualhmr_training.presets import PRESETS, demo_keypoints

HEAVY = ("accelerate", "tensorboard", "torch.utils.tensorboard", "onnxruntime", "numba", "scipy")


def failing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on stderr by a command that fails."""
    assert main(["train", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dualhmr: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("preset", PRESETS)
def test_show_prints_the_configuration(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", preset, "--show"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert from_plain(TrainingConfig, printed) == PRESETS[preset]()


def test_show_knows_the_fields_that_were_given(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--steps", "3", "--show", '--inner.losses=["keypoints_2d"]', "--auxiliary", "null"]
    assert main(["train", "demo-keypoints", *given]) == 0
    printed = json.loads(capsys.readouterr().out)
    inner = replace(demo_keypoints().inner, losses=("keypoints_2d",))
    expected = replace(demo_keypoints(), steps=3, inner=inner, auxiliary=None)
    assert from_plain(TrainingConfig, printed) == expected


def test_trains_what_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_command(ORDINARY, tmp_path, threads=1) == 0
    out = tmp_path / "out"
    assert (out / "main.safetensors").is_file()
    record = json.loads((out / "training.json").read_text())
    assert record["config"] == json.loads(json.dumps(asdict(ORDINARY)))
    assert record["body"] == "stick_figure"
    assert record["poses"]["count"] == 60
    error = capsys.readouterr().err
    assert f"the weights are in {out}" in error
    assert "6/6" in error


def test_another_configuration_in_the_same_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(replace(ORDINARY, steps=2), tmp_path) == 0
    capsys.readouterr()
    assert train_command(replace(ORDINARY, steps=2, seed=9), tmp_path) == 1
    assert "seed was 3 and is 9" in capsys.readouterr().err


def test_other_poses_in_the_same_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_command(replace(ORDINARY, steps=2), tmp_path) == 0
    capsys.readouterr()
    write_poses(tmp_path / "poses.npz", seed=1)
    assert train_command(replace(ORDINARY, steps=2), tmp_path) == 1
    assert "other data (see poses in training.json)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stepz", "3"], "there is no field --stepz; known here are main, auxiliary"),
        (["--thread", "3"], "there is no field --thread; known here are"),
        (["--pose", "3"], "there is no field --pose; known here are"),
        (["--steps", "many"], "steps is 'many', expected int"),
        (["--steps"], "--steps needs a value after it"),
        (["typo"], "'typo' is not a field; write --field value"),
        (["--precision", "fp8"], "precision is 'fp8', expected one of no, bf16"),
        ([], "training demo needs --out"),
        (["--poses", "absent.npz", "--out", "x"], "no pose file at absent.npz"),
        (["--poses", "absent.npz", "--out", "x", "--device", "tpu"], "unknown device 'tpu'"),
        (["--poses", "absent.npz", "--out", "x", "--body", "no.npz"], "no body file at no.npz"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in failing(["demo", *arguments], capsys)
    assert list(tmp_path.iterdir()) == []


def test_presets_on_data_sets_need_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs = "training paper-cliff-resnet needs --datasets and --out"
    assert needs in failing(["paper-cliff-resnet", "--poses", "poses.npz"], capsys)
    given = ["paper-cliff-resnet", "--datasets", str(tmp_path), "--out", str(tmp_path / "out")]
    assert "Human3.6M" in failing([*given, "--device", "cpu"], capsys)
    missing = ["--extra-joints", str(tmp_path / "no.npy"), "--device", "cpu"]
    assert "no file of extra joints" in failing([*given, *missing], capsys)
    missing = ["--mean-params", str(tmp_path / "no.npz"), "--device", "cpu"]
    assert "no mean parameters at" in failing([*given, *missing], capsys)
    missing = ["--gendered-bodies", "m.npz", "f.npz", "--device", "cpu"]
    assert "no body file at m.npz" in failing([*given, *missing], capsys)


def test_wide_people_are_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> dict[str, Any]:
        assert main(["train", "demo", "--show", *arguments]) == 0
        population: dict[str, Any] = json.loads(capsys.readouterr().out)["population"]
        return population

    assert shown() == shown("--people", "wide") == asdict(wide_population())
    assert shown("--people", "plain") == asdict(Population())
    assert shown("--population.all_ages", "0")["all_ages"] == 0


def test_an_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "dmeo", "--show"])
    error = capsys.readouterr().err
    assert "invalid choice: 'dmeo'" in error
    assert "paper-cliff-hrnet" in error


@pytest.mark.parametrize("missing", ["accelerate", "tqdm", "tensorboard"])
def test_without_the_extra(
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == missing or name.startswith("torch.utils.tensorboard"):
            monkeypatch.delitem(sys.modules, name)
    for name in (
        "run",
        "trainer",
        "dataset_training",
        "synthetic_training",
    ):
        monkeypatch.delitem(sys.modules, f"dualhmr_training.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    error = failing(["demo", "--poses", "p.npz", "--out", "o"], capsys)
    assert missing in error
    assert 'pip install "dualhmr[training]"' in error


def test_no_option_hides_a_field() -> None:
    parser = argparse.ArgumentParser()
    command_train.add_arguments(parser)
    options = vars(parser.parse_args(["demo"]))
    assert not options.keys() & {field.name for field in fields(TrainingConfig)}


def test_other_commands_take_no_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["info", "--steps=3"])
    assert "unrecognized arguments: --steps=3" in capsys.readouterr().err


def test_the_help_waits_for_nothing_that_only_training_needs() -> None:
    program = (
        "import sys; import dualhmr_training.cli.train; "
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("preset", "needed", "useless"),
    [
        ("demo", "--poses", ["--gendered-bodies", "m.npz", "f.npz", "--extra-joints", "e.npy"]),
        ("demo", "--poses", ["--datasets", "."]),
        ("paper-cliff-resnet", "--datasets", ["--poses", "poses.npz"]),
    ],
)
def test_options_that_would_change_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    preset: str,
    needed: str,
    useless: list[str],
) -> None:
    out = tmp_path / "out"
    said = failing([preset, needed, "here", "--out", str(out), *useless], capsys)
    assert all(option in said for option in useless if option.startswith("--"))
    assert not out.exists()
