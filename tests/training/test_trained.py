import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.small_bundle import IMAGE_SPEC, SPEC, upright
from helpers.tiny_training import TINY, small_body

from dualhmr.bundle import ScheduleDefaults
from dualhmr.keypoints import BODY_23, SPIN_49
from dualhmr.objective.weights import LossWeights
from dualhmr.weights import save_weights
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.training_folder import (
    DEFAULT_ADAM_RATE,
    network_facts,
    read_networks,
    read_record,
    training_record,
    write_record,
)

CONFIG = replace(TINY, main=SPEC, auxiliary=SPEC, weights=LossWeights(keypoints_2d=7.0))


def trained(folder: Path, *, roles: tuple[str, ...] = ("main", "auxiliary"), **fields: Any) -> Path:
    folder.mkdir(exist_ok=True)
    config = replace(CONFIG, **fields)
    write_record(folder, training_record(config, small_body()))
    for seed, role in enumerate(roles):
        save_weights(upright(getattr(config, role), seed), folder / f"{role}.safetensors")
    return folder


def test_networks_are_what_was_trained(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    main, auxiliary = read_networks(folder, read_record(folder))
    assert auxiliary is not None
    assert not main.training
    assert not auxiliary.training
    for seed, network in enumerate((main, auxiliary)):
        torch.testing.assert_close(network.state_dict(), upright(SPEC, seed).state_dict())


def test_what_the_record_says() -> None:
    facts = network_facts(training_record(CONFIG, small_body()))
    assert facts.body == small_body().name
    assert facts.keypoint_set == BODY_23.name
    assert facts.camera == "cliff"
    assert facts.weights == LossWeights(keypoints_2d=7.0)


def test_test_time_begins_with_the_inner_step_of_training() -> None:
    config = replace(CONFIG, inner=InnerLoop(learning_rate=0.02, max_norm=3.0))
    assert network_facts(training_record(config, small_body())).schedule == ScheduleDefaults(
        "trained", adam_rate=DEFAULT_ADAM_RATE, descent_rate=0.02, descent_max_norm=3.0
    )
    ordinary = replace(CONFIG, inner=InnerLoop(steps=0))
    assert network_facts(training_record(ordinary, small_body())).schedule.name == "paper"


def test_what_it_says_of_the_paper_s_trainings_and_of_networks_alone() -> None:
    config = replace(CONFIG, main=IMAGE_SPEC, auxiliary=None, camera="hmr", data="datasets")
    facts = network_facts(training_record(config, small_body()))
    assert (facts.keypoint_set, facts.camera, facts.schedule.name) == (SPIN_49, "hmr", "eft")


def test_an_older_record_that_does_not_name_the_camera() -> None:
    record = training_record(CONFIG, small_body())
    for later in ("camera", "data", "outer_weights"):
        del record["config"][later]
    assert network_facts(record) == network_facts(training_record(CONFIG, small_body()))


def test_a_main_network_trained_alone(tmp_path: Path) -> None:
    folder = trained(tmp_path, auxiliary=None, roles=("main",))
    main, auxiliary = read_networks(folder, read_record(folder))
    assert auxiliary is None
    assert main.reads == SPEC.reads


@pytest.mark.parametrize("roles", [(), ("main",)])
def test_a_training_that_is_not_finished(tmp_path: Path, roles: tuple[str, ...]) -> None:
    folder = trained(tmp_path, roles=roles)
    lacking = "auxiliary" if roles else "main"
    message = rf"not finished: there is no {lacking}\.safetensors; run the command that began it"
    with pytest.raises(FileNotFoundError, match=message):
        read_networks(folder, read_record(folder))


def test_weights_of_another_network(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    other = replace(CONFIG, main=replace(SPEC, hidden=12))
    write_record(folder, training_record(other, small_body()))
    with pytest.raises(ValueError, match=r"main\.safetensors"):
        read_networks(folder, read_record(folder))


def test_a_folder_without_a_training(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no training: there is no training\.json"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON, damaged or cut short"),
        ("[]", "is not the record of a training"),
        (
            json.dumps({"body": "free", "config": {"main": asdict(SPEC)}}),
            "it lacks body, or",
        ),
        (json.dumps({"config": {"main": 1, "auxiliary": 1, "weights": 1}}), "it lacks body"),
    ],
)
def test_records_of_something_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_record(tmp_path)
    assert "training.json" in str(caught.value)


def test_weights_and_rates_of_test_time_can_be_chosen_later() -> None:
    record = training_record(CONFIG, small_body())
    changed = network_facts(record, ["--weights.joints_3d", "0.5", "--schedule.name=release"])
    assert changed.weights == LossWeights(keypoints_2d=7.0, joints_3d=0.5)
    assert changed.schedule == replace(network_facts(record).schedule, name="release")
    with pytest.raises(ValueError, match=r"there is no field --schedule\.rate; known here"):
        network_facts(record, ["--schedule.rate", "1"])
