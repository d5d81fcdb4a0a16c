import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stick_figure import stick_figure
from torch import Tensor

from dualhmr.body import Body
from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.rotations import rotmat_to_rot6d, rotvec_to_rotmat
from dualhmr.weights import load_weights
from dualhmr_training import default_networks
from dualhmr_training.configuration import NetworkConfig, TrainingConfig
from dualhmr_training.default_networks import (
    NETWORKS,
    errors_mm,
    held_out_clips,
    held_out_people,
    main,
    train_one,
)
from dualhmr_training.supervised import build_network, training_objective
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import PoseFile, read_poses

TINY = TrainingConfig(
    network=NetworkConfig(feature_count=16, blocks=1, hidden=16), steps=2, batch=4
)


@pytest.fixture(scope="module")
def body() -> Body:
    return stick_figure(dtype=torch.float32)


@pytest.fixture
def as_free_body(body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_networks, "load_body", lambda: body)


for_free_body = pytest.mark.usefixtures("as_free_body")


def make_poses(clips: int = 20, each: int = 3) -> PoseFile:
    generator = torch.Generator().manual_seed(0)
    names = tuple(f"clip_{i:02}" for i in range(clips) for _ in range(each))
    return PoseFile(0.2 * torch.randn(len(names), 24, 3, generator=generator), names)


def write(poses: PoseFile, path: Path) -> Path:
    stored = (poses.rotvecs / (torch.pi / 32767)).round().to(torch.int16).numpy()
    np.savez(path, axis_angle_i16=stored, clip=np.array(poses.clips))
    return path


class Knowing:
    """In the place of a network: knows the answer, and errs as it is told."""

    def __init__(self, people: People, turn: Tensor | None = None) -> None:
        rotations = people.rotations.clone()
        if turn is not None:
            rotations[:, 0] = turn @ rotations[:, 0]
        pose = rotmat_to_rot6d(rotations).flatten(1)
        self.output = HeadOutput(pose, people.betas, torch.ones(len(pose), 3))

    def __call__(self, _: dict[str, Tensor]) -> HeadOutput:
        return self.output


def test_errors_of_who_knows_the_answer_are_zero(body: Body) -> None:
    people = PeopleSampler(body, make_poses().rotvecs, Population(), seed=0).sample(20)
    errors = errors_mm(Knowing(people), training_objective(body, TINY), people)
    assert errors["mpjpe"] < 1e-2
    assert errors["pa_mpjpe"] < 1e-2


def test_errors_of_who_mistakes_the_direction(body: Body) -> None:
    people = PeopleSampler(body, make_poses().rotvecs, Population(), seed=0).sample(20)
    turn = rotvec_to_rotmat(torch.tensor([0.0, 0.5, 0.0]))
    errors = errors_mm(Knowing(people, turn), training_objective(body, TINY), people)
    assert 50 < errors["mpjpe"] < 500
    assert errors["pa_mpjpe"] < 1e-2


def test_an_untrained_network_is_off_by_decimetres(body: Body) -> None:
    people = PeopleSampler(body, make_poses().rotvecs, Population(), seed=0).sample(50)
    network = build_network(TINY.network, make_poses().rotvecs).eval()
    errors = errors_mm(network, training_objective(body, TINY), people)
    assert 10 < errors["pa_mpjpe"] < errors["mpjpe"] < 1000


@pytest.mark.parametrize("clips", [2, 3, 7, 11, 57, 100])
def test_some_clips_are_held_out_and_most_are_not(clips: int) -> None:
    poses = make_poses(clips, each=1)
    held_out = held_out_clips(poses)
    assert held_out < set(poses.clips)
    assert 1 <= len(held_out) <= (clips + 1) // 2
    if clips >= 57:
        assert len(held_out) < clips / 6


def test_held_out_people_stand_in_held_out_poses(body: Body) -> None:
    poses = make_poses()
    people = held_out_people(body, poses, count=30, noise=0.02)
    held_out = held_out_clips(poses)
    own = rotvec_to_rotmat(poses.of_clips(held_out))[:, 1:]
    others = rotvec_to_rotmat(poses.of_clips(set(poses.clips) - held_out))[:, 1:]
    assert len(own) + len(others) == len(poses.clips)

    def nearest(pool: Tensor) -> Tensor:
        return (people.rotations[:, None, 1:] - pool[None]).abs().flatten(2).amax(2).amin(1)

    assert (nearest(own) < 1e-6).all()
    assert (nearest(others) > 1e-2).all()
    assert not people.confidence[:, 17:].any()


def test_held_out_people_are_always_the_same(body: Body) -> None:
    first, second = (held_out_people(body, make_poses(), count=5, noise=0.02) for _ in range(2))
    assert torch.equal(first.detected, second.detected)


@for_free_body
def test_training_keeps_from_the_held_out_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = make_poses()
    pools: list[Tensor] = []

    def train(_body: Body, pool: Tensor, config: TrainingConfig, **_: object) -> MeshRegressor:
        pools.append(pool)
        return build_network(config.network, pool)

    monkeypatch.setattr(default_networks, "train", train)
    train_one("main", poses, TINY, tmp_path)
    trained_on = {tuple(pose) for pose in pools[0].flatten(1).tolist()}
    kept = {tuple(pose) for pose in poses.of_clips(held_out_clips(poses)).flatten(1).tolist()}
    assert trained_on
    assert kept
    assert not trained_on & kept


@for_free_body
def test_writes_weights_and_their_record(tmp_path: Path) -> None:
    poses = read_poses(write(make_poses(), tmp_path / "poses.npz"))
    network = train_one("auxiliary", poses, TINY, tmp_path / "new" / "folder")
    out = tmp_path / "new" / "folder"
    assert {file.name for file in out.iterdir()} == {"auxiliary.safetensors", "auxiliary.json"}
    read = build_network(TINY.network, poses.rotvecs)
    load_weights(read, out / "auxiliary.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor), name
    record = json.loads((out / "auxiliary.json").read_text())
    assert record["body"] == "stick_figure"
    assert record["config"] == asdict(TINY)
    assert [row["step"] for row in record["validation"]] == [2]
    assert record["validation"][0].keys() == {"step", "loss", "mpjpe", "pa_mpjpe"}
    assert record["commit"]


@for_free_body
def test_the_record_names_the_commit_that_training_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ["begun"]
    monkeypatch.setattr(default_networks, "_commit", lambda: head[0])
    train = default_networks.train

    def train_while_others_commit(*arguments: Any, **options: Any) -> MeshRegressor:
        head[0] = "committed meanwhile"
        return train(*arguments, **options)

    monkeypatch.setattr(default_networks, "train", train_while_others_commit)
    train_one("main", make_poses(), TINY, tmp_path)
    assert json.loads((tmp_path / "main.json").read_text())["commit"] == "begun"


def test_the_two_networks_differ_in_size_and_seed() -> None:
    main_config, auxiliary = NETWORKS["main"], NETWORKS["auxiliary"]
    assert main_config.seed != auxiliary.seed
    assert main_config.network.blocks < auxiliary.network.blocks
    assert replace(auxiliary, network=main_config.network, seed=main_config.seed) == main_config


@for_free_body
def test_the_command_trains_what_it_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(default_networks, "NETWORKS", {"main": TINY, "auxiliary": TINY})
    poses = write(make_poses(), tmp_path / "poses.npz")
    options = ["--poses", str(poses), "--out", str(tmp_path / "out"), "--steps", "1"]
    main([*options, "--network", "main"])
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"main.safetensors", "main.json"}
    assert json.loads((tmp_path / "out" / "main.json").read_text())["config"]["steps"] == 1
    with pytest.raises(SystemExit):
        main([*options, "--network", "mian"])
    assert "invalid choice: 'mian'" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no pose file at"):
        main(["--poses", str(tmp_path / "no.npz"), "--out", str(tmp_path)])
