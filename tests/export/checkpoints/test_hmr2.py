"""HMR2.0's Lightning checkpoints: what is read, what is refused, and that nothing is run.

The networks are narrow; `tests/networks/test_hmr2.py` has them at full width.
"""

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.narrow_networks import narrow_networks
from helpers.release_checkpoints import write_hmr2

from dualhmr.bundle import ScheduleDefaults
from dualhmr.keypoints import SPIN_49
from dualhmr_export.checkpoints import import_checkpoint


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_networks(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "epoch=35.ckpt"


def message(path: Path) -> str:
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        import_checkpoint(path)
    return str(caught.value)


class Call:
    """Pickled, it is a program that calls `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class CfgNode(dict):  # type: ignore[type-arg]
    """As yacs's: a dict with attributes of its own."""


class AnyNode:
    """As omegaconf's, a leaf."""

    def __init__(self, value: object) -> None:
        self._val = value
        self._parent = None


class DictConfig:
    """As omegaconf's; lists too are objects with a content."""

    def __init__(self, content: Any) -> None:
        items = content.items() if isinstance(content, dict) else enumerate(content)
        made = {name: of_omegaconf(value) for name, value in items}
        self._content = made if isinstance(content, dict) else list(made.values())


def of_omegaconf(value: Any) -> Any:
    return DictConfig(value) if isinstance(value, dict | list) else AnyNode(value)


def of_yacs(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    node = CfgNode({name: of_yacs(each) for name, each in value.items()})
    node.__dict__["__immutable__"] = True
    return node


def configuration(*path: str, value: object) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


CONFIGURATIONS = pytest.mark.parametrize("written_by", [of_omegaconf, of_yacs, dict])


@CONFIGURATIONS
@pytest.mark.parametrize("blocks", [1, 3])
def test_all_of_the_network_and_its_depth(path: Path, blocks: int, written_by: Any) -> None:
    plain = configuration("MODEL", "BBOX_SHAPE", value=[192, 256])
    state = write_hmr2(path, blocks=blocks, config=written_by(plain | {"X": {"y": "${no:where}"}}))
    imported = import_checkpoint(path)
    assert (imported.kind, imported.auxiliary) == ("HMR2.0", imported.main)
    spec, facts = imported.main_spec, imported.facts
    assert (spec.backbone, spec.backbone_options) == ("hmr2", {"blocks": blocks})
    assert (spec.hidden, spec.iterations, spec.reads) == (0, 1, ("image",))
    assert (facts.body, facts.keypoint_set, facts.camera) == ("smpl", SPIN_49, "cliff")
    assert (facts.crop, facts.focal_length) == ("hmr2", "hmr2")
    assert facts.schedule == ScheduleDefaults("eft", adam_rate=1e-5, descent_rate=1e-5)
    assert not imported.main.training
    backbone = imported.main.backbone.state_dict()
    own = {name: tensor for name, tensor in state.items() if name in backbone}
    assert own.keys() == backbone.keys()
    assert all(torch.equal(backbone[name], tensor) for name, tensor in own.items())


def test_rotations_are_those_of_the_release(path: Path) -> None:
    """Its readout as the release writes it: the columns of a rotation one after the other."""
    state = {name: tensor.double().numpy() for name, tensor in write_hmr2(path).items()}
    network = import_checkpoint(path).main
    crop = torch.randint(256, (1, 256, 192, 3), dtype=torch.uint8)
    with torch.no_grad():
        output, features = network({"image": crop}), network.encode({"image": crop})
    t = features[0].double().numpy()

    def read_out(layer: str, start: str) -> np.ndarray:
        weight, bias = (state[f"smpl_head.{layer}.{part}"] for part in ("weight", "bias"))
        return weight @ t + bias + state[f"smpl_head.{start}"][0]

    a, b = read_out("decpose", "init_body_pose").reshape(24, 2, 3).swapaxes(0, 1)
    first = a / np.linalg.norm(a, axis=1, keepdims=True)
    second = b - (first * b).sum(1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    expected = np.stack([first, second, np.cross(first, second)], axis=2)
    np.testing.assert_allclose(output.rotations[0], expected, atol=2e-5)
    np.testing.assert_allclose(output.betas[0], read_out("decshape", "init_betas"), atol=2e-5)
    np.testing.assert_allclose(output.camera[0], read_out("deccam", "init_cam"), atol=2e-5)


@CONFIGURATIONS
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (("MODEL", "BBOX_SHAPE"), [256, 256]),
        (("MODEL", "SMPL_HEAD", "IEF_ITERS"), 3),
        (("MODEL", "SMPL_HEAD", "TRANSFORMER_INPUT"), "mean_shape"),
        (("MODEL", "SMPL_HEAD", "JOINT_REP"), "aa"),
        (("MODEL", "SMPL_HEAD", "TRANSFORMER_DECODER", "dim"), 512),
    ],
)
def test_another_network_by_its_configuration(
    path: Path, setting: tuple[str, ...], value: object, written_by: Any
) -> None:
    write_hmr2(path, blocks=1, config=written_by(configuration(*setting, value=value)))
    found = message(path)
    assert f"its configuration says {'.'.join(setting)} {value}, but only" in found


def test_tensors_that_do_not_fit(path: Path) -> None:
    changes = {
        "backbone.blocks.1.norm1.bias": None,
        "backbone.extra": torch.zeros(1),
        "smpl_head.decpose.weight": torch.zeros(147, 128),
    }
    write_hmr2(path, **changes)
    found = message(path)
    assert "HMR2.0: the checkpoint does not fit the network; " in found
    assert "1 missing: backbone.blocks.1.norm1.bias; 1 unexpected: backbone.extra" in found
    assert "1 misshapen: smpl_head.decpose.weight 147x128 instead of 144x128" in found


@pytest.mark.parametrize(
    ("number", "expected"),
    [("7", "missing: backbone.blocks.2."), ("x", "numbered 0, 1, x"), ("900", "blocks is 901")],
)
def test_blocks_that_nobody_has(path: Path, number: str, expected: str) -> None:
    write_hmr2(path, **{f"backbone.blocks.{number}.norm1.bias": torch.zeros(160)})
    assert expected in message(path)


def test_another_project_s_lightning_checkpoint(path: Path) -> None:
    torch.save({"state_dict": {"encoder.weight": torch.zeros(2)}, "epoch": 1}, path)
    found = message(path)
    assert "its state_dict is not one of HMR2.0. At its top level it holds 'state_dict'" in found
    assert "Supported are: Meta-HMR" in found
    assert "HMR2.0 of 4D-Humans" in found


def test_a_program_in_the_configuration_is_not_run(path: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    write_hmr2(path, blocks=1, config=Call(os.system, f"touch {marker}"))
    import_checkpoint(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("function", [os.system, exec, getattr, pickle.loads])
def test_a_program_in_place_of_a_tensor_is_refused(path: Path, function: Any) -> None:
    hostile: Any = Call(function, "1", "2")
    write_hmr2(path, blocks=1, **{"backbone.pos_embed": hostile})
    found = message(path)
    assert "state_dict: 'backbone.pos_embed' is no tensor" in found
    assert "nothing in the file was run: it is made by " in found
    assert function.__name__ in found


def rewritten(path: Path, change: Any) -> None:
    """The archive with another content for each of its members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def test_storages_that_are_cut_short(path: Path) -> None:
    write_hmr2(path, blocks=1)
    rewritten(path, lambda name, content: content[:-4] if "/data/" in name else content)
    assert re.search(r"has \d+ bytes, expected \d+ numbers of torch.float32", message(path))


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [(1, (4,), (1,)), (0, (1 << 30, 1 << 30), (1, 1)), (-1, (4,), (1,)), (0, (4,), (1, 1))],
)
def test_tensors_that_reach_beyond_their_storage(
    path: Path, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    storage = torch.zeros(4)._typed_storage()
    arguments = (storage, offset, shape, stride, False, OrderedDict())
    hostile: Any = Call(torch._utils._rebuild_tensor_v2, *arguments)
    write_hmr2(path, blocks=1, **{"backbone.pos_embed": hostile})
    assert "backbone.pos_embed' is no tensor" in message(path)
