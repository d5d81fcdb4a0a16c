"""`dualhmr evaluate` on the licensed data sets, from files to the table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.licensed_files import NEUTRAL, write_bodies, write_test_split
from helpers.small_bundle import IMAGE_SPEC, SPEC, upright
from helpers.tiny_training import TINY

from dualhmr.cli import main
from dualhmr.weights import save_weights
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.evaluation.report import read_evaluation_report
from dualhmr_training.training_folder import training_record, write_record

NAMES = ("human36m", "threedpw", "mpi_inf_3dhp")


def write_training(folder: Path, config: TrainingConfig) -> None:
    folder.mkdir()
    write_record(folder, training_record(config, NEUTRAL))
    assert config.auxiliary is not None
    for seed, (role, spec) in enumerate((("main", config.main), ("auxiliary", config.auxiliary))):
        save_weights(upright(spec, seed), folder / f"{role}.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, bodies and data sets."""
    folder = tmp_path_factory.mktemp("licensed")
    sees = replace(TINY, main=IMAGE_SPEC, auxiliary=IMAGE_SPEC, data="datasets")
    write_training(folder / "sees", sees)
    write_training(folder / "reads", replace(TINY, main=SPEC, auxiliary=SPEC))
    write_bodies(folder / "bodies")
    for name in NAMES:
        write_test_split(folder / "data" / name, name)
    return folder


def run(folder: Path, networks: str, name: str, *arguments: object) -> int:
    files = ["--datasets", folder / "data", "--body", folder / "bodies" / "SMPL_NEUTRAL.npz"]
    files += ["--joint-regressor", folder / "bodies" / "J_regressor_h36m.npy"]
    given = [folder / networks, "--data", name, *files, "--max-steps", 2, *arguments]
    return main(["evaluate", *map(str, given)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("networks", ["sees", "reads"])
def test_the_test_split_of_every_data_set(
    folder: Path, tmp_path: Path, name: str, networks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "errors.json"
    arguments = [] if name == "mpi_inf_3dhp" else ["--gendered-bodies", folder / "bodies"]
    assert run(folder, networks, name, *arguments, "--json", out) == 0
    printed = capsys.readouterr()
    assert "| annotated | trained |" in printed.out
    assert "annotated: 3 of 3 people" in printed.err
    report = read_evaluation_report(out)
    assert (report.data, report.body, report.bundle) == (name, "neutral", networks)
    assert report.options == {"keypoints": "annotated"}
    (evaluation,) = report.evaluations
    assert evaluation.people == 3
    assert len(evaluation.joints) == (17 if name == "mpi_inf_3dhp" else 14)
    assert ("pve_mm" in evaluation.measures) == (name != "mpi_inf_3dhp")
    objective = evaluation.measures["objective"].mean
    assert objective[2] < objective[0]


def test_some_people_with_openpose_s_keypoints(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "errors.json"
    arguments = ["--keypoints", "openpose", "--count", 2, "--json", out]
    assert run(folder, "sees", "mpi_inf_3dhp", *arguments) == 0
    (evaluation,) = read_evaluation_report(out).evaluations
    assert (evaluation.keypoints, evaluation.people) == ("openpose", 2)


def test_who_was_not_detected_counts_as_the_networks_see_them(folder: Path, tmp_path: Path) -> None:
    openpose = np.full((3, 25, 3), 200.0)
    openpose[0] = 0
    data, out = tmp_path / "data", tmp_path / "errors.json"
    write_test_split(data / "mpi_inf_3dhp", "mpi_inf_3dhp", openpose=openpose)
    arguments = ["--keypoints", "openpose", "--datasets", data, "--json", out]
    assert run(folder, "sees", "mpi_inf_3dhp", *arguments) == 0
    (evaluation,) = read_evaluation_report(out).evaluations
    assert evaluation.people == 3
    assert np.isfinite(evaluation.measures["given_2d_percent"].mean).all()


def test_both_gendered_bodies_by_name(folder: Path) -> None:
    files = [folder / "bodies" / f"SMPL_{gender}.npz" for gender in ("MALE", "FEMALE")]
    assert run(folder, "sees", "threedpw", "--gendered-bodies", *files) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the truth of 3DPW is the mesh of each person's gender: give --gendered-bodies"),
        (["--gendered-bodies", "a.pkl"], "both files, the male one first"),
        (["--gendered-bodies", "a.pkl", "b.pkl", "c.pkl"], "both files, the male one first"),
        (["--gendered-bodies", "."], "no body file at SMPL_MALE.pkl"),
        (
            ["--annotations", "absent.npz", "--gendered-bodies", "bodies"],
            "no annotations at absent",
        ),
        (
            ["--gendered-bodies", "bodies", "--joint-regressor", "absent.npy"],
            "no joint regressor at absent.npy",
        ),
        (["--extra-joints", "absent.npy"], "no file of extra joints at absent.npy"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert run(Path(), "sees", "threedpw", *arguments) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
