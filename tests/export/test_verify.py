import dataclasses
from pathlib import Path

import onnx
import pytest
from helpers.small_bundle import IMAGE_SPEC, MANIFEST, SPEC, upright, write_small_bundle
from onnx import numpy_helper

from dualhmr import open_bundle
from dualhmr.bundle import Bundle, write_manifest
from dualhmr.files import sha256
from dualhmr_export.onnx_files import DTYPES
from dualhmr_export.parity import real_crops
from dualhmr_export.verify import verify
from dualhmr_export.write_bundle import write_bundle

BOTH = {"main": IMAGE_SPEC, "auxiliary": IMAGE_SPEC}


def changed_weights(bundle: Bundle, file: str, scale: float) -> Bundle:
    """With the weights of one exported graph off by a factor, and a manifest that knows."""
    path = bundle.path(file)
    model = onnx.load(path)
    for weights in model.graph.initializer:
        if "convolution" in weights.name or "decshape" in weights.name:
            array = numpy_helper.to_array(weights) * scale
            weights.CopyFrom(numpy_helper.from_array(array.astype("float32"), weights.name))
    onnx.save(model, path)
    files = bundle.manifest.files | {file: sha256(path)}
    write_manifest(bundle.folder, dataclasses.replace(bundle.manifest, files=files))
    return open_bundle(bundle.folder)


def test_the_default_bundle_holds() -> None:
    report = verify(open_bundle())
    assert report.holds
    assert report.crops == 8
    assert "CPUExecutionProvider" in report.engine
    graphs = ["backbone.onnx", "auxiliary.onnx", "adaptation.onnx"]
    assert [row.graph for row in report.rows] == graphs
    assert 0 < report.rows[1].absolute < 0.05
    assert "fp32 in onnxruntime" in str(report)


@pytest.mark.parametrize("precision", DTYPES)
def test_every_precision_holds_and_costs_what_it_should(precision: str, tmp_path: Path) -> None:
    bundle = open_bundle(write_small_bundle(tmp_path / "b", precision=precision, **BOTH))
    report = verify(bundle)
    assert report.holds
    assert report.precision == precision
    assert ("by rounding" in report.engine) == (precision == "bf16")
    low, high = {"fp32": (0, 1e-5), "fp16": (1e-5, 5e-3), "bf16": (1e-4, 3e-2)}[precision]
    assert low < report.rows[0].relative < high


@pytest.mark.parametrize("file", ["backbone.onnx", "auxiliary.onnx"])
def test_changed_graphs_are_found(file: str, tmp_path: Path) -> None:
    bundle = open_bundle(write_small_bundle(tmp_path / "b", **BOTH))
    report = verify(changed_weights(bundle, file, 1.1))
    assert not report.holds
    assert [row.graph for row in report.rows if not row.holds] == [file]


def test_a_bundle_without_pytorch_weights_cannot_be_compared(tmp_path: Path) -> None:
    bundle = open_bundle(write_small_bundle(tmp_path / "b"))
    files = {
        name: hash_ for name, hash_ in bundle.manifest.files.items() if "backbone.s" not in name
    }
    write_manifest(bundle.folder, dataclasses.replace(bundle.manifest, files=files))
    with pytest.raises(FileNotFoundError, match=r"without backbone\.safetensors"):
        verify(open_bundle(bundle.folder))


def test_crops_are_eight_different_ones() -> None:
    crops = real_crops(dataclasses.replace(MANIFEST, main=IMAGE_SPEC))
    assert crops["image"].shape == (8, 256, 192, 3)
    assert len({crop.tobytes() for crop in crops["image"]}) == 8
    # One photograph: turning by half leaves the same pixels but for where the crop's grid falls.
    upright_, turned = crops["image"][0].astype(float), crops["image"][4].astype(float)
    assert abs(upright_.mean() - turned.mean()) < 2
    assert crops["keypoints"].shape == (8, 23, 3)


def test_out_of_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dualhmr_export.write_bundle.export_onnx", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "b", upright(SPEC, 1), upright(SPEC, 2), MANIFEST)
    assert list(tmp_path.iterdir()) == []
