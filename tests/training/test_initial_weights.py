from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.small_bundle import SPEC, upright, write_small_bundle
from helpers.small_training import ALONE, CONFIG, write_training
from helpers.tiny_training import flat, small_body
from safetensors.torch import save_file

from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.initial import initial_networks, upright_pose_6d
from dualhmr_training.synthetic_training import synthetic_objective
from dualhmr_training.training_folder import Networks, open_networks


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("initial") / "bundle")


def networks_of(config: TrainingConfig, initial: Networks | None) -> DualNetworks:
    objective = synthetic_objective(small_body(), config.supervision)
    return initial_networks(config, objective, mean_pose=upright_pose_6d(), initial=initial)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_networks_begin_with_exactly_these_weights(bundle: Path, precision: str) -> None:
    config = replace(CONFIG, precision=precision, dropout=0.3)
    networks = networks_of(config, open_networks(bundle))
    assert networks.auxiliary is not None
    for seed, network in enumerate((networks.main, networks.auxiliary), 1):
        expected = upright(SPEC, seed).state_dict()
        torch.testing.assert_close(dict(network.state_dict()), dict(expected), rtol=0, atol=0)
        assert network.head.drop1.p == 0.3
        assert network.training


def test_a_bundle_and_the_training_it_was_made_of_are_the_same(
    bundle: Path, tmp_path: Path
) -> None:
    digest = open_networks(bundle).sha256
    assert open_networks(str(write_training(tmp_path / "run"))).sha256 == digest
    assert open_networks(write_training(tmp_path / "other", first_seed=2)).sha256 != digest
    assert open_networks(write_training(tmp_path / "alone", ALONE)).sha256 != digest


def test_the_main_network_alone(bundle: Path, tmp_path: Path) -> None:
    for folder in (bundle, write_training(tmp_path / "alone", ALONE)):
        networks = networks_of(ALONE, open_networks(folder))
        assert networks.auxiliary is None
        assert torch.equal(flat(networks), flat(upright(SPEC, 1)))


def test_an_auxiliary_network_that_nobody_wants_may_be_any(tmp_path: Path) -> None:
    other = replace(CONFIG, auxiliary=replace(SPEC, hidden=12))
    networks = networks_of(ALONE, open_networks(write_training(tmp_path / "run", other)))
    assert torch.equal(flat(networks), flat(upright(SPEC, 1)))


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (
            CONFIG,
            replace(CONFIG, main=replace(SPEC, hidden=12)),
            r"training in .*run are not those of this training: main\.hidden was 8 and is 12; give",
        ),
        (
            replace(CONFIG, auxiliary=replace(SPEC, iterations=5)),
            CONFIG,
            r": auxiliary\.iterations was 5 and is 2; give these fields as they were, or other",
        ),
        (ALONE, CONFIG, r"run has a main network alone, and this .*both, or --auxiliary null"),
    ],
)
def test_other_networks_are_refused(
    there: TrainingConfig, here: TrainingConfig, message: str, tmp_path: Path
) -> None:
    initial = open_networks(write_training(tmp_path / "run", there))
    with pytest.raises(ValueError, match=message):
        networks_of(here, initial)


def test_where_heads_begin_belongs_to_the_weights(tmp_path: Path) -> None:
    state = upright(SPEC, 1).state_dict()
    del state["head.init_pose"]
    folder = write_training(tmp_path / "run")
    save_file(state, folder / "main.safetensors")
    with pytest.raises(ValueError, match=r"(?s)main\.safetensors: the weights .*head\.init_pose"):
        open_networks(folder)
