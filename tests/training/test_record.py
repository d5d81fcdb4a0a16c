import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_training import TINY, small_body

from dualhmr.plain_data import from_plain
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.training_folder import (
    check_record,
    tensors_sha256,
    training_record,
    write_record,
)


def test_a_record_tells_what_was_trained_on_what(tmp_path: Path) -> None:
    record = training_record(TINY, small_body(), poses={"count": 3})
    write_record(tmp_path, record)
    read = json.loads((tmp_path / "training.json").read_text())
    assert read == record
    assert read.keys() == {"commit", "config", "body", "body_sha256", "poses"}
    assert from_plain(TrainingConfig, read["config"]) == TINY
    assert read["body"] == "stick_figure"
    assert read["commit"]


def test_the_commit_and_the_configuration_may_differ(tmp_path: Path) -> None:
    record = training_record(TINY, small_body(), poses=1)
    write_record(tmp_path, record)
    other = training_record(replace(TINY, steps=3), small_body(), poses=1)
    check_record(tmp_path, other | {"commit": "another"})


def test_another_body_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    body = small_body()
    write_record(tmp_path, training_record(TINY, body))
    other = replace(body, shapedirs=body.shapedirs * 2)
    with pytest.raises(ValueError, match=r"other data \(see body_sha256 in training.json\)"):
        check_record(tmp_path, training_record(TINY, other))


def test_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text('{"commit": ')
    with pytest.raises(ValueError, match=r"training.json: not JSON"):
        check_record(tmp_path, {})


def test_no_record_is_no_contradiction(tmp_path: Path) -> None:
    check_record(tmp_path, {"body": "any"})


def test_digests_are_of_values_and_not_of_layout() -> None:
    tensor = torch.randn(3, 4)
    assert tensors_sha256(tensor) == tensors_sha256(tensor.T.contiguous().T)
    assert tensors_sha256(tensor) != tensors_sha256(tensor + 1e-6)
    assert len(tensors_sha256(tensor, tensor)) == 64
