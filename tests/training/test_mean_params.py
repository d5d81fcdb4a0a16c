import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_training import ORDINARY, TINY, flat, networks_and_batches, train_command
from numpy.typing import NDArray
from safetensors.torch import load_file

from dualhmr.networks import read_mean_params
from dualhmr.rotations import rot6d_to_rotmat, rotmat_to_rot6d, rotvec_to_rotmat
from dualhmr_training.initial import begin_from


def arrays() -> dict[str, NDArray[np.float32]]:
    """As SPIN has them: a pose that is no rest pose, upside down as its camera sees it."""
    generator = torch.Generator().manual_seed(0)
    rotvecs = 0.3 * torch.randn(24, 3, generator=generator)
    rotvecs[0] = torch.tensor([torch.pi, 0.0, 0.0])
    pose = rotvec_to_rotmat(rotvecs)[:, :, :2].flatten()
    shape = torch.randn(10, generator=generator)
    return {"pose": pose.numpy(), "shape": shape.numpy(), "cam": np.float32([0.9, 0.01, 0.02])}


def write(path: Path, **changes: object) -> Path:
    kept = {name: array for name, array in {**arrays(), **changes}.items() if array is not None}
    np.savez(path, **kept)  # type: ignore[arg-type]
    return path


def test_rotations_are_read_as_spin_means_them(tmp_path: Path) -> None:
    start = read_mean_params(write(tmp_path / "m.npz")).start
    assert [tuple(part.shape) for part in start] == [(1, 144), (1, 10), (1, 3)]
    rotations = rot6d_to_rotmat(start.pose_6d.unflatten(1, (24, 6)))
    # SPIN: x.view(-1, 3, 2), whose columns are the first two of the rotation.
    first_two = torch.from_numpy(arrays()["pose"]).view(24, 3, 2)
    torch.testing.assert_close(rotations[0, :, :, :2], first_two)
    torch.testing.assert_close(rotmat_to_rot6d(rotations).flatten(1), start.pose_6d)


def test_both_heads_begin_there_and_nothing_else_changes(tmp_path: Path) -> None:
    start = write(tmp_path / "m.npz")
    networks, _ = networks_and_batches(TINY)
    before = flat(networks)
    begin_from(networks, read_mean_params(start).start)
    changed = (flat(networks) != before).sum()
    assert networks.auxiliary is not None
    assert 2 * 100 < changed <= 2 * (144 + 10 + 3)
    for network in (networks.main, networks.auxiliary):
        for name, array in zip(
            ("init_pose", "init_shape", "init_cam"), arrays().values(), strict=True
        ):
            assert torch.equal(getattr(network.head, name)[0], torch.from_numpy(array))
    alone, _ = networks_and_batches(replace(ORDINARY, auxiliary=None))
    begin_from(alone, read_mean_params(start).start)


def test_the_command_uses_and_records_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "m.npz", pose=arrays()["pose"].astype(np.float64))
    config = replace(ORDINARY, steps=1)
    assert train_command(config, tmp_path, **{"mean-params": path}) == 0
    out = tmp_path / "out"
    record = json.loads((out / "training.json").read_text())
    assert record["mean_params_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for network in ("main", "auxiliary"):
        weights = load_file(out / f"{network}.safetensors")
        assert torch.equal(weights["head.init_shape"][0], torch.from_numpy(arrays()["shape"]))
    write(path, shape=np.zeros(10))
    capsys.readouterr()
    assert train_command(config, tmp_path, **{"mean-params": path}) == 1
    assert "began with other data (see mean_params_sha256" in capsys.readouterr().err
    assert train_command(config, tmp_path) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cam": None, "shape": None}, "lacks shape, cam; SPIN's smpl_mean_params.npz has"),
        ({"pose": np.zeros(72, np.float32)}, r"pose is float32 \(72,\), .* 6D, not axis-angle"),
        (
            {"shape": np.zeros((1, 10))},
            r"shape is float64 \(1, 10\), expected real numbers",
        ),
        ({"cam": np.array([1, 0, 0])}, r"cam is int64 \(3,\), expected real numbers \(3,\)"),
        ({"cam": np.array([1, np.nan, 0])}, "cam has numbers that are not finite"),
        ({"shape": np.array([None] * 10)}, "not an .npz of plain arrays"),
    ],
)
def test_files_that_are_something_else(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_mean_params(write(tmp_path / "m.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_damaged_files(content: bytes | None, tmp_path: Path) -> None:
    path = write(tmp_path / "m.npz")
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(ValueError, match=r"m\.npz: damaged, cut short or not an .npz"):
        read_mean_params(path)


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no mean parameters at .*github.com/nkolot/SPIN"):
        read_mean_params(tmp_path / "m.npz")
