"""Trainings behind a reproduction: which are the same, resuming, and fine-tuning."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers.reproducing_examples import (
    TRAINING,
    few_to_validate_on,
    says_nothing,
    tiny_setting,
    write_poses,
    written,
)

from dualhmr_benchmarks.claims.experiments.recipes import RECIPES
from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_benchmarks.claims.experiments.trainings import (
    TrainingRun,
    train_all,
    training_folder,
    training_key,
)
from dualhmr_training.trainer import Trainer
from dualhmr_training.training_folder import open_networks, read_record

DUAL = TrainingRun("cliff_dual", 1)


@pytest.fixture(autouse=True)
def short_trainings() -> Iterator[None]:
    with few_to_validate_on():
        yield


def weights(setting: Setting, training: TrainingRun) -> dict[str, torch.Tensor]:
    """Of both networks."""
    return {
        f"{path.stem}/{name}": tensor
        for path in sorted(training_folder(setting, training).glob("*.safetensors"))
        for name, tensor in safetensors.torch.load_file(path).items()
    }


def assert_same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    assert some.keys() == others.keys()
    assert all(torch.equal(some[name], others[name]) for name in some)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """With a training of `DUAL` that nothing interrupted."""
    setting = tiny_setting(tmp_path_factory.mktemp("trained"))
    with few_to_validate_on():
        train_all(setting, [DUAL.recipe], say=says_nothing)
    return setting


def test_keys_are_of_all_that_decides(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    copied = tmp_path / "copied.npz"
    copied.write_bytes(setting.poses.read_bytes())
    elsewhere = replace(setting, poses=copied, test_poses=copied, cache=tmp_path / "elsewhere")
    for same in (setting, elsewhere, replace(setting, seeds=(5,), jobs=2, device="cuda")):
        assert training_key(same, DUAL) == training_key(setting, DUAL)
    poses = write_poses(tmp_path / "other.npz", TRAINING, seed=9)
    longer = replace(setting.budget, training=replace(setting.budget.training, steps=7))
    longer_tuning = replace(setting.budget, fine_tuning_steps=3)
    tuned = TrainingRun("fine_tuned_on_2d", 1)
    keys = [
        *(training_key(setting, TrainingRun(recipe, 1)) for recipe in RECIPES),
        training_key(setting, TrainingRun("cliff_dual", 2)),
        training_key(setting, TrainingRun("fine_tuned_on_2d", 2)),
        training_key(replace(setting, poses=poses), DUAL),
        training_key(replace(setting, budget=longer), DUAL),
        # The fine-tuning is as long as before; what it begins from is not.
        training_key(replace(setting, budget=longer), tuned),
        training_key(replace(setting, budget=longer_tuning), tuned),
    ]
    assert len(set(keys)) == len(keys)


def test_recipes_of_one_configuration_are_one_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = tiny_setting(tmp_path)
    monkeypatch.setitem(RECIPES, "one_step", replace(RECIPES["cliff_meta"], inner_steps=1))
    said: list[str] = []
    train_all(setting, ["cliff_meta", "one_step", "cliff_meta"], say=said.append)
    assert said == ["1 of 1 done: training cliff_meta, seed 1"]
    assert len(list((setting.cache / "trainings").iterdir())) == 1
    assert training_folder(setting, TrainingRun("one_step", 1)).is_dir()
    before = written(setting.cache)
    train_all(setting, ["one_step"], say=said.append)
    assert len(said) == 1
    assert written(setting.cache) == before


def test_inner_steps_of_the_main_network_leave_the_auxiliary_network_alone(
    tmp_path: Path, trained: Setting
) -> None:
    """So an ordinary main network can be given the auxiliary network of a meta-trained one."""
    ordinary = TrainingRun("cliff_ordinary", 1)
    setting = replace(trained, cache=tmp_path)
    train_all(setting, [ordinary.recipe], say=says_nothing)
    found, expected = weights(setting, ordinary), weights(trained, DUAL)
    auxiliary = {name for name in expected if name.startswith("auxiliary/")}
    assert_same(*({name: each[name] for name in auxiliary} for each in (found, expected)))
    assert any(not torch.equal(found[name], expected[name]) for name in found)


def test_interrupted_trainings_go_on(
    tmp_path: Path, trained: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = replace(trained, cache=tmp_path)
    step, taken = Trainer.train_step, []

    def counted(self: Trainer) -> dict[str, float]:
        if len(taken) == 4:
            raise KeyboardInterrupt
        taken.append(self.step)
        return step(self)

    monkeypatch.setattr(Trainer, "train_step", counted)
    with pytest.raises(KeyboardInterrupt):
        train_all(setting, [DUAL.recipe], say=says_nothing)
    folder = training_folder(setting, DUAL)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000004"]
    assert not list(folder.glob("*.safetensors"))
    taken.clear()
    train_all(setting, [DUAL.recipe], say=says_nothing)
    assert taken == [4, 5]
    assert_same(weights(setting, DUAL), weights(trained, DUAL))


def test_interrupted_between_the_weights_of_two_networks(tmp_path: Path, trained: Setting) -> None:
    setting = replace(trained, cache=tmp_path)
    train_all(setting, [DUAL.recipe], say=says_nothing)
    (training_folder(setting, DUAL) / "auxiliary.safetensors").unlink()
    train_all(setting, [DUAL.recipe], say=says_nothing)
    assert_same(weights(setting, DUAL), weights(trained, DUAL))


def test_fine_tuning_begins_from_what_was_trained(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    untouched = replace(setting, budget=replace(setting.budget, fine_tuning_steps=0))
    tuned, before = TrainingRun("fine_tuned_on_2d", 1), TrainingRun("cliff_ordinary", 1)
    for each in (untouched, setting):
        train_all(each, [tuned.recipe], say=says_nothing)
    found, start = weights(untouched, tuned), weights(setting, before)
    assert_same(found, {name: start[name] for name in start if name.startswith("main/")})
    changed = weights(setting, tuned)
    assert any(not torch.equal(changed[name], found[name]) for name in found)
    assert read_record(training_folder(setting, tuned))["initial_sha256"]
    assert open_networks(training_folder(setting, tuned)).auxiliary is None
