"""Every release's format imports: all tensors, the right heads, and what is known of them."""

from pathlib import Path

import pytest
import torch
from helpers.release_checkpoints import (
    State,
    flat_state,
    flat_tensors,
    mean_params,
    write_cliff,
    write_mean_params,
    write_meta_hmr,
    write_spin,
)
from torch import Tensor

from dualhmr.bundle import ScheduleDefaults
from dualhmr.keypoints import SPIN_49
from dualhmr.networks import MeshRegressor, checkpoint_state
from dualhmr.objective.weights import LossWeights
from dualhmr_export.checkpoints import Imported, import_checkpoint

TABLES = ("meta_hmr_cliff_hrnet", "meta_hmr_cliff_resnet", "meta_hmr_hmr_resnet")
HRNETS = ("hrnet_w48_concatenated", "hrnet_w48_classification")


def assert_holds(network: MeshRegressor, state: State) -> None:
    found = checkpoint_state(network)
    assert found.keys() == state.keys()
    wrong = [name for name, tensor in state.items() if not torch.equal(found[name], tensor)]
    assert not wrong
    assert not any(module.training for module in network.modules())


def assert_facts(imported: Imported, *, camera: str, schedule: str) -> None:
    facts = imported.facts
    assert (facts.body, facts.keypoint_set, facts.camera) == ("smpl", SPIN_49, camera)
    assert facts.weights == LossWeights()
    assert facts.schedule == ScheduleDefaults(schedule, adam_rate=1e-5, descent_rate=1e-5)
    for network, spec in (
        (imported.main, imported.main_spec),
        (imported.auxiliary, imported.auxiliary_spec),
    ):
        assert spec.head_reads_box_info == (camera == "cliff") == network.head.reads_box_info
        assert spec.reads == network.reads == ("image", "box_info")[: len(network.reads)]
        assert spec.iterations == network.head.iterations


def iterations(imported: Imported) -> tuple[int, int]:
    return imported.main_spec.iterations, imported.auxiliary_spec.iterations


def backbones(imported: Imported) -> tuple[str, str]:
    return imported.main_spec.backbone, imported.auxiliary_spec.backbone


@pytest.mark.parametrize(
    ("backbone", "camera", "kind"),
    [
        ("hrnet", "cliff", "Meta-HMR, CLIFF HRNet-W48"),
        ("resnet", "cliff", "Meta-HMR, CLIFF ResNet-50"),
        ("resnet", "hmr", "Meta-HMR, HMR ResNet-50"),
    ],
)
def test_meta_hmr(tmp_path: Path, backbone: str, camera: str, kind: str) -> None:
    path = tmp_path / "c.pt"
    states = write_meta_hmr(path, backbone, camera, fill=flat_state, epoch=3)
    imported = import_checkpoint(path)
    assert imported.kind == kind
    assert_holds(imported.main, states["model"])
    assert_holds(imported.auxiliary, states["model_aux"])
    assert iterations(imported) == (10, 3)
    assert backbones(imported) == (HRNETS if backbone == "hrnet" else ("resnet50", "resnet50"))
    assert_facts(imported, camera=camera, schedule="paper")


@pytest.mark.parametrize("table", TABLES)
def test_meta_hmr_as_the_tables_list_it(tmp_path: Path, shared_folder: Path, table: str) -> None:
    states = {
        role: flat_tensors(read_table(shared_folder / "formats" / f"{table}.{name}.tsv"), seed)
        for seed, (role, name) in enumerate((("model", "main"), ("model_aux", "auxiliary")))
    }
    torch.save(states, tmp_path / "c.pt")
    imported = import_checkpoint(tmp_path / "c.pt")
    assert_holds(imported.main, states["model"])
    assert_holds(imported.auxiliary, states["model_aux"])


def read_table(path: Path) -> dict[str, tuple[int, ...]]:
    rows = [line.split("\t") for line in path.read_text().splitlines() if line[0] != "#"]
    return {
        name: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for name, shape in rows
    }


@pytest.mark.parametrize(
    ("backbone", "name", "kind"),
    [
        ("resnet", "resnet50", "CLIFF, ResNet-50"),
        ("hrnet", "hrnet_w48_classification", "CLIFF, HRNet-W48"),
    ],
)
def test_cliff(tmp_path: Path, backbone: str, name: str, kind: str) -> None:
    state = write_cliff(tmp_path / "c.pt", backbone, fill=flat_state)
    imported = import_checkpoint(tmp_path / "c.pt")
    assert imported.kind == kind
    assert_holds(imported.main, state)
    assert imported.auxiliary is imported.main
    assert imported.auxiliary_spec == imported.main_spec
    assert (backbones(imported), iterations(imported)) == ((name, name), (3, 3))
    assert_facts(imported, camera="cliff", schedule="eft")


def test_spin_begins_with_the_mean_parameters(tmp_path: Path) -> None:
    state = write_spin(tmp_path / "hmr.pt", fill=flat_state)
    start = write_mean_params(tmp_path / "m.npz", seed=5)
    imported = import_checkpoint(tmp_path / "hmr.pt", mean_params=tmp_path / "m.npz")
    assert imported.kind == "SPIN, HMR ResNet-50"
    assert_holds(imported.main, state | start)
    assert imported.auxiliary is imported.main
    assert iterations(imported) == (3, 3)
    assert_facts(imported, camera="hmr", schedule="eft")
    assert imported.facts.crop == "spin"


def test_spin_trained_anew_holds_where_it_begins(tmp_path: Path) -> None:
    state = write_spin(tmp_path / "c.pt", with_start=True, fill=flat_state)
    assert_holds(import_checkpoint(tmp_path / "c.pt").main, state)


def test_weights_in_full_and_what_they_give(tmp_path: Path) -> None:
    states = write_meta_hmr(tmp_path / "c.pt", "resnet", "cliff")
    imported = import_checkpoint(tmp_path / "c.pt")
    assert_holds(imported.main, states["model"])
    assert_holds(imported.auxiliary, states["model_aux"])
    start = mean_params(0)["init_pose"]
    with torch.no_grad():
        output = imported.main(inputs())
    assert 0 < (output.pose_6d - start).abs().max() < 1


def inputs() -> dict[str, Tensor]:
    image = torch.randint(256, (1, 64, 64, 3), dtype=torch.uint8)
    return {"image": image, "box_info": torch.zeros(1, 3)}
