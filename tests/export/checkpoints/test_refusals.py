"""Files that are not what they seem: errors say which file, which network, and what is wrong."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.release_checkpoints import flat_state, write_cliff, write_meta_hmr, write_spin

from dualhmr_export.checkpoints import import_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.pt"


def message(path: Path, **options: Any) -> str:
    """What the importer says of the file; always by its name."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        import_checkpoint(path, **options)
    return str(caught.value)


def changed(path: Path, role: str, **changes: Any) -> None:
    """Replaces entries of one network in the file, or removes those that are None."""
    content = torch.load(path)
    state = {**content[role], **changes}
    content[role] = {name: value for name, value in state.items() if value is not None}
    torch.save(content, path)


@pytest.mark.parametrize("role", ["model", "model_aux"])
def test_every_tensor_is_accounted_for(path: Path, role: str) -> None:
    write_meta_hmr(path, fill=flat_state)
    changes = {
        "layer1.0.conv1.weight": None,
        "init_cam": None,
        "smpl.betas": torch.zeros(10),
        "fc2.bias": torch.zeros(7),
    }
    changed(path, role, **changes)
    found = message(path)
    assert f"{path}: {role} (CLIFF ResNet-50): the checkpoint does not fit the network" in found
    assert "2 missing: init_cam, layer1.0.conv1.weight; 1 unexpected: smpl.betas" in found
    assert "1 misshapen: fc2.bias 7 instead of 1024" in found


def test_counters_of_batch_norms_may_lack(path: Path) -> None:
    write_cliff(path, fill=flat_state)
    changed(path, "model", **{"module.encoder.bn1.num_batches_tracked": None})
    import_checkpoint(path)


def test_cliff_names_are_stripped_of_all_prefixes_or_none(path: Path) -> None:
    write_cliff(path, fill=flat_state)
    changed(path, "model", extra=torch.zeros(1))
    assert "model: its 332 names (extra, module.deccam.bias, " in message(path)


def test_another_architecture(path: Path) -> None:
    state = {"conv1.weight": torch.zeros(3), "layer3.0.weight": torch.zeros(3)}
    torch.save({"model": state, "epoch": 1}, path)
    found = message(path)
    assert ": model: its 2 names (conv1.weight, layer3.0.weight, ...)" in found
    assert f"{path}: not a supported format: model: " in found
    assert "At its top level it holds 'model', 'epoch'. Supported are: Meta-HMR (" in found
    assert "CLIFF (" in found
    assert "SPIN's hmr.pt" in found
    assert "training.json" in found


def test_a_backbone_without_head_or_with_another(path: Path) -> None:
    write_cliff(path, fill=flat_state)
    changed(path, "model", **{"module.fc1.weight": torch.zeros(1024, 720)})
    assert (
        "fc1.weight is (1024, 720); after ResNet-50 with 2048 features it is (1024, 2208) in "
        "CLIFF and (1024, 2205) in HMR"
    ) in message(path)
    changed(path, "model", **{"module.fc1.weight": None})
    assert "ResNet-50 without fc1.weight: it has no regressor head" in message(path)


def test_a_network_alone_whose_iterations_nobody_knows(path: Path) -> None:
    states = write_meta_hmr(path, "hrnet", fill=flat_state)
    torch.save({"model": states["model"]}, path)
    found = message(path)
    assert "model is CLIFF HRNet-W48 with its backbone under 'backbone.', without" in found


def test_main_and_auxiliary_of_two_kinds(path: Path) -> None:
    states = write_meta_hmr(path, "resnet", "cliff", fill=flat_state)
    other = write_meta_hmr(path, "resnet", "hmr", fill=flat_state)
    torch.save({"model": states["model"], "model_aux": other["model_aux"]}, path)
    found = message(path)
    assert "model is CLIFF ResNet-50, model_aux is HMR ResNet-50; both have to be" in found


def test_a_state_dict_without_what_surrounds_it(path: Path) -> None:
    states = write_meta_hmr(path, fill=flat_state)
    torch.save(states["model"], path)
    found = message(path)
    assert "it lacks model. At its top level it holds " in found
    assert " and 321 more. Supported are: " in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "it lacks model. At its top level it holds nothing."),
        ({"model": [1]}, "model is of type list, expected a state dict"),
        ({"model": {"a": 1}}, "model is not a state dict: 'a' is of type int"),
        ({"model": {3: torch.zeros(1)}}, "model is not a state dict: 3 is of type Tensor"),
        ({"model": {}, 1: 2}, "its 0 names"),
        ({"model": {"fc": {"x" * 99: 1}}}, "'fc' is of type dict"),
    ],
)
def test_dicts_of_something_else(path: Path, content: object, expected: str) -> None:
    torch.save(content, path)
    assert expected in message(path)


def test_spin_needs_the_mean_parameters(path: Path, tmp_path: Path) -> None:
    write_spin(path, fill=flat_state)
    assert "pass SPIN's smpl_mean_params.npz as mean_params" in message(path)
    with pytest.raises(FileNotFoundError, match="no mean parameters at"):
        import_checkpoint(path, mean_params=tmp_path / "m.npz")
    (tmp_path / "m.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"m\.npz: damaged, cut short or not an \.npz"):
        import_checkpoint(path, mean_params=tmp_path / "m.npz")


def test_spin_with_half_a_start(path: Path) -> None:
    write_spin(path, with_start=True, fill=flat_state)
    changed(path, "model", init_pose=None)
    assert "1 missing: init_pose" in message(path)


def test_hostile_and_damaged_files(path: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'marker'}",)

    write_meta_hmr(path, fill=flat_state, optimizer=Hostile())
    assert "nothing in it was run" in message(path)
    assert not (tmp_path / "marker").exists()
    write_meta_hmr(path, fill=flat_state)
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged, truncated" in message(path)
