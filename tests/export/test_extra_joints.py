"""SPIN's extra joints, from a file of their own to bundle, objective and recovery."""

from pathlib import Path

import numpy as np
import pytest
from helpers.narrow_networks import narrow_networks
from helpers.release_checkpoints import write_meta_hmr

from dualhmr import Recoverer, load_body, open_bundle
from dualhmr.body.arrays import EXTRA_JOINT_NAMES
from dualhmr.cli import main
from dualhmr.example import example
from dualhmr.keypoints import SPIN_24
from dualhmr_export.adaptation_graph.problem import named_points


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_networks(monkeypatch)


def test_extra_joints_travel_with_the_bundle(tmp_path: Path, smpl: Path) -> None:
    checkpoint, extra, out = (tmp_path / name for name in ("cliff.pt", "extra.npy", "bundle"))
    write_meta_hmr(checkpoint, "resnet", "cliff")
    rng = np.random.default_rng(0)
    np.save(extra, rng.dirichlet(np.full(6890, 0.01), 9).astype(np.float32))
    arguments = [str(checkpoint), "--extra-joints", str(extra), "--out", str(out)]
    assert main(["export", *arguments, "--format", "torch"]) == 0
    extra.unlink()
    assert open_bundle(out).extra_joints == out / "extra_joints.npy"
    image, coco = example()
    of_name = dict(zip(coco.set.names, coco.xy[0], strict=True))
    of_name |= {f"{side}_hip_lsp": of_name[f"{side}_hip"] for side in ("left", "right")}
    keypoints = np.array([of_name.get(name, (0, 0)) for name in SPIN_24.names])  # (0, 0): missing
    mine = Recoverer(out, body=smpl).recover(image, keypoints, keypoint_set="spin_24", max_steps=2)
    assert len(mine.persons) == 1
    assert np.isfinite(mine.keypoints_2d).all()  # those that SMPL alone lacks, too
    others = np.roll(np.load(out / "extra_joints.npy"), 1, axis=0)
    moved = Recoverer(out, body=smpl, extra_joints=others).recover(
        image, keypoints, keypoint_set="spin_24", max_steps=2
    )
    first = [recovery.traces[0].translation[0] for recovery in (mine, moved)]
    np.testing.assert_allclose(*first, atol=1e-5)  # the same first guess
    assert np.abs(moved.keypoints_2d - mine.keypoints_2d).max() > 1
    assert np.abs(moved.vertices - mine.vertices).max() > 1e-6
    with pytest.raises(ValueError, match=r"extra_joints has shape \(9, 7\), expected \(9, 6890\)"):
        Recoverer(out, body=smpl, extra_joints=np.ones((9, 7)))


def test_adaptation_without_pytorch_knows_them() -> None:
    body = load_body()
    rows = np.random.default_rng(0).random((9, body.vertex_count), np.float32)
    names, with_extra = (named_points(each).names for each in (body, load_body(extra_joints=rows)))
    assert with_extra[: len(names)] != with_extra
    assert {*with_extra} == {*names, *EXTRA_JOINT_NAMES}
