"""Which networks become a pair: given as one file, as two, or left by our own training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.release_checkpoints import (
    flat_state,
    write_cliff,
    write_mean_params,
    write_meta_hmr,
    write_spin,
)
from helpers.small_bundle import SPEC, upright
from helpers.tiny_image_backbone import tiny_network
from helpers.tiny_training import ORDINARY, TINY, small_body

from dualhmr.keypoints import SPIN_49
from dualhmr.networks import MeshRegressor, checkpoint_state
from dualhmr.weights import save_weights
from dualhmr_export.checkpoints import import_checkpoint
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.training_folder import network_facts, training_record, write_record

ALONE = replace(ORDINARY, main=SPEC, auxiliary=None)
PAIR = replace(TINY, main=SPEC, auxiliary=replace(SPEC, iterations=1))


def write_training(folder: Path, config: TrainingConfig, *, body: str | None = None) -> Path:
    """What `dualhmr train` leaves; main and auxiliary are `upright` with seeds 0 and 1."""
    folder.mkdir()
    record = training_record(config, small_body())
    write_record(folder, record if body is None else record | {"body": body})
    for seed, role in enumerate(("main", "auxiliary")):
        spec = getattr(config, role)
        if spec is not None:
            save_weights(upright(spec, seed), folder / f"{role}.safetensors")
    return folder


def assert_same(network: MeshRegressor, other: MeshRegressor) -> None:
    torch.testing.assert_close(network.state_dict(), other.state_dict(), atol=0, rtol=0)
    assert not network.training


def test_our_own_training(tmp_path: Path) -> None:
    imported = import_checkpoint(write_training(tmp_path / "t", PAIR))
    assert imported.kind == "dualhmr training, keypoint_trunk"
    assert_same(imported.main, upright(SPEC, 0))
    assert_same(imported.auxiliary, upright(SPEC, 1))
    assert (imported.main_spec, imported.auxiliary_spec) == (PAIR.main, PAIR.auxiliary)
    assert imported.facts == network_facts(training_record(PAIR, small_body()))


def test_a_network_trained_alone_is_its_own_auxiliary(tmp_path: Path) -> None:
    imported = import_checkpoint(write_training(tmp_path / "t", ALONE))
    assert imported.auxiliary is imported.main
    assert imported.auxiliary_spec == SPEC
    assert imported.facts == network_facts(training_record(ALONE, small_body()))
    assert imported.facts.schedule.name == "eft"


def test_a_network_trained_alone_and_the_main_one_of_another_training(tmp_path: Path) -> None:
    alone, pair = write_training(tmp_path / "a", ALONE), write_training(tmp_path / "p", PAIR)
    save_weights(upright(SPEC, 7), pair / "main.safetensors")
    imported = import_checkpoint(alone, auxiliary=pair)
    assert_same(imported.main, upright(SPEC, 0))
    assert_same(imported.auxiliary, upright(SPEC, 7))
    alone_facts = network_facts(training_record(ALONE, small_body()))
    assert imported.facts == replace(
        alone_facts, schedule=replace(alone_facts.schedule, name="paper")
    )


def test_cliff_with_another_file_as_auxiliary(tmp_path: Path) -> None:
    main, other = tmp_path / "main.pt", tmp_path / "other.pt"
    first = write_cliff(main, fill=flat_state)
    second = write_meta_hmr(other, "resnet", "cliff", seed=3, fill=flat_state)["model"]
    imported = import_checkpoint(main, auxiliary=other)
    assert imported.kind == "CLIFF, ResNet-50"
    for network, state in ((imported.main, first), (imported.auxiliary, second)):
        torch.testing.assert_close(checkpoint_state(network), state, atol=0, rtol=0)
    assert (imported.main_spec.iterations, imported.auxiliary_spec.iterations) == (3, 10)
    assert imported.facts.schedule.name == "paper"


def test_two_spin_files_share_the_mean_parameters(tmp_path: Path) -> None:
    mean_params = tmp_path / "m.npz"
    write_mean_params(mean_params)
    for seed in range(2):
        write_spin(tmp_path / f"{seed}.pt", seed=seed, fill=flat_state)
    imported = import_checkpoint(
        tmp_path / "0.pt", auxiliary=tmp_path / "1.pt", mean_params=mean_params
    )
    assert torch.equal(imported.main.head.init_pose, imported.auxiliary.head.init_pose)
    assert not torch.equal(imported.main.head.fc1.bias, imported.auxiliary.head.fc1.bias)


def test_a_training_on_the_paper_s_data_can_adapt_with_a_release(tmp_path: Path) -> None:
    config = replace(ALONE, main=tiny_network("tiny_image"), data="datasets")
    training = write_training(tmp_path / "t", config, body="smpl")
    write_cliff(tmp_path / "c.pt", fill=flat_state)
    facts = import_checkpoint(training, auxiliary=tmp_path / "c.pt").facts
    assert (facts.body, facts.keypoint_set, facts.schedule.name) == ("smpl", SPIN_49, "paper")


def test_an_auxiliary_network_too_many(tmp_path: Path) -> None:
    write_meta_hmr(tmp_path / "c.pt", fill=flat_state)
    with pytest.raises(ValueError, match=r"c\.pt \(Meta-HMR, .* holds an auxiliary network; leave"):
        import_checkpoint(tmp_path / "c.pt", auxiliary=tmp_path / "c.pt")


def test_networks_that_are_no_pair(tmp_path: Path) -> None:
    write_cliff(tmp_path / "cliff.pt", fill=flat_state)
    write_spin(tmp_path / "spin.pt", with_start=True, fill=flat_state)
    training = write_training(tmp_path / "t", PAIR)
    with pytest.raises(ValueError, match=r"cannot be .* \(SPIN, .* camera is cliff, the .* hmr"):
        import_checkpoint(tmp_path / "cliff.pt", auxiliary=tmp_path / "spin.pt")
    with pytest.raises(ValueError, match=r"\(dualhmr training, .* its body is smpl, the other's"):
        import_checkpoint(tmp_path / "cliff.pt", auxiliary=training)


def test_networks_whose_crops_are_of_different_sizes(tmp_path: Path) -> None:
    write_spin(tmp_path / "spin.pt", with_start=True, fill=flat_state)
    write_meta_hmr(tmp_path / "hmr.pt", "resnet", "hmr", fill=flat_state)
    with pytest.raises(ValueError, match=r"SPIN.* crops of 224x224 pixels, the other of 192x256"):
        import_checkpoint(tmp_path / "spin.pt", auxiliary=tmp_path / "hmr.pt")


def test_mean_parameters_that_nothing_needs(tmp_path: Path) -> None:
    write_mean_params(tmp_path / "m.npz")
    write_cliff(tmp_path / "c.pt", fill=flat_state)
    with pytest.raises(ValueError, match="holds the head's initial estimate; leave"):
        import_checkpoint(tmp_path / "c.pt", mean_params=tmp_path / "m.npz")


def test_folders_and_files_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no training\.json"):
        import_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*c\.pt"):
        import_checkpoint(tmp_path / "c.pt")
