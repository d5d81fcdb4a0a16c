"""From a release's file to a recovered body, as a user goes: export, verify, recover.

The networks are narrow: at full size, TensorRT, ONNX Runtime and PyTorch together take 5 GB.
`checkpoints/test_releases.py` imports files of full-size networks.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.narrow_networks import narrow_networks
from helpers.release_checkpoints import (
    write_cliff,
    write_hmr2,
    write_mean_params,
    write_meta_hmr,
    write_spin,
)

from dualhmr import Recoverer, open_bundle
from dualhmr.cli import main
from dualhmr.example import example
from dualhmr_export import onnx_files

RTX = "sm86"

# What an engine may hold beside the graph's weights. Half-precision weights kept in single
# precision would be more than this: 0.8 MB more in each of the two.
KERNEL_BYTES = {"auxiliary.onnx": 4_200_000, "backbone.onnx": 1_300_000}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_networks(monkeypatch)


def export_checked(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `dualhmr verify` prints, `dualhmr export` does; see `test_command_export.py`."""
    assert main(["export", *arguments, "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("holds |") == 2


def recovers(bundle: Path, smpl: Path, **options: object) -> None:
    recovery = Recoverer(bundle, body=smpl, **options).recover(*example(), max_steps=2)  # type: ignore[arg-type]
    assert recovery.vertices.shape == (1, 6890, 3)
    assert np.isfinite(recovery.vertices).all()
    assert recovery.loss_history[0][recovery.best_step[0]] < recovery.loss_history[0][0]


@pytest.mark.parametrize(
    ("backbone", "camera", "with_graphs"),
    [("resnet", "hmr", True), ("resnet", "cliff", False), ("hrnet", "cliff", False)],
)
def test_meta_hmr(
    backbone: str,
    camera: str,
    with_graphs: bool,
    tmp_path: Path,
    smpl: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, out = tmp_path / "release.pt", tmp_path / "bundle"
    write_meta_hmr(checkpoint, backbone, camera)
    if with_graphs:
        options = ["--precision", "fp16", "--format", "tensorrt", "--target", RTX]
        export_checked([str(checkpoint), *options, "--max-batch", "4"], out, capsys)
    else:
        assert main(["export", str(checkpoint), "--format", "torch", "--out", str(out)]) == 0
    checkpoint.unlink()
    manifest = open_bundle(out).manifest
    assert (manifest.body, manifest.camera, manifest.keypoint_set) == ("smpl", camera, "spin_49")
    assert manifest.main.iterations == 10
    assert manifest.schedule.name == "paper"
    engines = sorted((out / "engines").glob("*.engine"))
    names = [path.name.split(".")[:2] for path in engines]
    assert names == [["auxiliary", RTX], ["backbone", RTX]] * with_graphs
    for path, graph in zip(engines, ("auxiliary.onnx", "backbone.onnx"), strict=False):
        kernels = path.stat().st_size - (out / graph).stat().st_size  # both hold the weights
        assert kernels < KERNEL_BYTES[graph]
    if with_graphs:
        assert (manifest.precision, manifest.max_batch) == ("fp16", 4)
    for graph in ("backbone.onnx", "auxiliary.onnx") if with_graphs else ():
        kinds = {node.op_type for node in onnx.load(out / graph).graph.node}
        assert "Conv" in kinds
        assert "BatchNormalization" not in kinds
    recovers(out, smpl)


def test_cliff_alone_is_its_own_auxiliary(
    tmp_path: Path, smpl: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = tmp_path / "cliff.pt", tmp_path / "bundle"
    write_cliff(checkpoint, "resnet")
    export_checked([str(checkpoint), "--precision", "bf16"], out, capsys)
    manifest = open_bundle(out).manifest
    assert manifest.schedule.name == "eft"
    assert manifest.precision == "bf16"
    assert manifest.provenance.keys() == {"cliff.pt"}
    with pytest.raises(RuntimeError, match=r"bf16|bfloat16"):
        Recoverer(out, body=smpl, backend="onnxruntime")
    recovers(out, smpl)  # in PyTorch


def test_spin(tmp_path: Path, smpl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, start, out = (tmp_path / name for name in ("hmr.pt", "mean.npz", "bundle"))
    write_spin(checkpoint)
    write_mean_params(start)
    arguments = [str(checkpoint), "--mean-params", str(start), "--precision", "fp32"]
    export_checked(arguments, out, capsys)
    manifest = open_bundle(out).manifest
    assert manifest.provenance.keys() == {"hmr.pt", "mean.npz"}
    assert (manifest.crop, manifest.image_size) == ("spin", (224, 224))
    recovers(out, smpl)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_hmr2(
    precision: str,
    tmp_path: Path,
    smpl: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With weights in a file of their own at fp32, as those of full size have."""
    checkpoint, out = tmp_path / "epoch=35.ckpt", tmp_path / "bundle"
    write_hmr2(checkpoint, blocks=1)
    if precision == "fp32":
        monkeypatch.setattr(onnx_files, "_MOST_BYTES", 1 << 20)
    export_checked([str(checkpoint), "--precision", precision], out, capsys)
    checkpoint.unlink()
    manifest = open_bundle(out).manifest
    assert ("backbone.onnx.data" in manifest.files) == (precision == "fp32")
    assert (manifest.crop, manifest.focal_length, manifest.schedule.name) == ("hmr2", "hmr2", "eft")
    assert manifest.shared_backbone
    # The pseudo mesh is a readout of features that are there already.
    weights = (out / "backbone.safetensors").stat().st_size
    assert (out / "auxiliary.onnx").stat().st_size < 0.1 * weights
    recovers(out, smpl)
