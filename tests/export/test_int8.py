"""int8 bundles: what is quantised, how exact it is, what it is calibrated on, what is refused."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from helpers.small_bundle import MANIFEST, SPEC, upright
from onnx import TensorProto
from PIL import Image
from torch import Tensor, nn

from dualhmr import EngineOptions, Recoverer, open_bundle
from dualhmr.bundle import Bundle, NetworkSpec
from dualhmr.cli import main
from dualhmr.engines import open_networks
from dualhmr.example import example
from dualhmr.networks import BACKBONES
from dualhmr.networks.backbones import Backbone
from dualhmr_export import calibration as calibrating
from dualhmr_export.calibration import calibration
from dualhmr_export.checkpoints.importing import Imported
from dualhmr_export.export import export
from dualhmr_export.parity import real_crops
from dualhmr_export.verify import ParityReport
from dualhmr_export.write_bundle import write_bundle
from dualhmr_training.training_folder import NetworkFacts


class SmallResNet(Backbone):
    """Operations of ResNet-50: convolutions, a pool, a branch that is added, a mean."""

    reads = ("image",)
    feature_count = 16

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 7, stride=4)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        maps = torch.max_pool2d(torch.relu(self.first(image / 128 - 1)), 3, 2)
        maps = maps + torch.relu(self.second(maps))
        return torch.relu(self.third(maps)).mean((2, 3))


IMAGE = NetworkSpec("small_resnet", {}, ("image",), 8, 2, False)
INT8 = replace(MANIFEST, main=IMAGE, precision="int8")


def patch_small(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(BACKBONES, "small_resnet", SmallResNet)
    for module in ("int8", "write_bundle"):
        patch.setattr(f"dualhmr_export.{module}.QUANTISED_BACKBONES", ("small_resnet",))
    patch.setattr(calibrating, "RENDERED_PEOPLE", 3)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_small(monkeypatch)


class Exported(NamedTuple):
    bundle: Bundle
    report: ParityReport
    root_logger: list[logging.LogRecord]
    """What was logged to the root logger itself."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    heard = logging.Handler()
    records: list[logging.LogRecord] = []
    heard.emit = records.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(heard)
    facts = NetworkFacts(INT8.body, INT8.keypoint_set, INT8.camera, INT8.weights, INT8.schedule)
    with pytest.MonkeyPatch.context() as patch:
        patch_small(patch)
        networks = upright(IMAGE, 1), upright(SPEC, 2)
        imported = Imported("small", *networks, IMAGE, SPEC, facts)
        patch.setattr("dualhmr_export.export._adaptation_body", lambda *_: None)
        report = export(imported, INT8, folder)
    logging.getLogger().removeHandler(heard)
    return Exported(open_bundle(folder), report, [each for each in records if each.name == "root"])


@pytest.fixture
def bundle(exported: Exported) -> Bundle:
    return exported.bundle


def test_convolutions_are_of_integers_and_all_else_is_float(bundle: Bundle) -> None:
    model = onnx.load(bundle.path("backbone.onnx"))
    made_by = {name: node for node in model.graph.node for name in node.output}
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3
    for node in convolutions:
        image, weights, _bias = (made_by[name] for name in node.input)
        assert {image.op_type, weights.op_type} == {"DequantizeLinear"}
        assert kinds[weights.input[0]] == TensorProto.INT8
        assert kinds[image.input[2]] == TensorProto.UINT8
        scales = next(each for each in model.graph.initializer if each.name == weights.input[1])
        assert list(scales.dims) == [16]  # one for each channel
    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    assert made_by[mean.input[0]].op_type == "Relu"
    other = onnx.load(bundle.path("auxiliary.onnx"))
    assert not [node for node in other.graph.node if "Quantize" in node.op_type]


def test_it_is_close_and_says_so(exported: Exported) -> None:
    bundle = exported.bundle
    assert bundle.manifest.precision == "int8"
    assert bundle.manifest.provenance == {"data": "none", "calibration": "3 people, rendered"}
    assert exported.report.holds
    assert "mesh, mm" in str(exported.report)
    assert not exported.root_logger
    crops = real_crops(bundle.manifest)
    exact, rounded = (
        np.asarray(open_networks(bundle, backend).backbone(crops)["features"])
        for backend in ("torch", "onnxruntime")
    )
    error = np.linalg.norm(rounded - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 1e-4 < error.max() < 0.03


def test_it_recovers_people_in_onnx_runtime_alone(bundle: Bundle) -> None:
    recovery = Recoverer(bundle, options=EngineOptions(threads=1)).recover(*example(), max_steps=2)
    assert recovery.vertices.shape[0] == 1
    with pytest.raises(RuntimeError, match="--precision fp16"):
        open_networks(bundle, "tensorrt", device="cuda")


def test_people_of_photographs_or_rendered_ones(tmp_path: Path) -> None:
    rendered = calibration(INT8)
    assert rendered.description == "3 people, rendered"
    assert rendered.inputs["image"].shape == (3, 256, 192, 3)
    assert rendered.inputs["image"].std() > 20
    np.testing.assert_array_equal(calibration(INT8).inputs["image"], rendered.inputs["image"])
    square = calibration(replace(INT8, crop="spin", image_size=(224, 224)))
    assert square.inputs["image"].shape == (3, 224, 224, 3)
    Image.new("RGB", (64, 64)).save(tmp_path / "nobody.png")
    with pytest.raises(ValueError, match="no person was found in the photographs of"):
        calibration(INT8, tmp_path)
    Image.fromarray(example()[0]).save(tmp_path / "somebody.png")
    found = calibration(INT8, tmp_path)
    assert found.description == f"1 people, from the photographs of the folder {tmp_path.name}"
    assert found.inputs["keypoints"].shape == (1, 23, 3)


def test_what_cannot_be_quantised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = upright(SPEC, 1), upright(SPEC, 2)
    with pytest.raises(ValueError, match="precision int8 is for convolutional backbones"):
        write_bundle(tmp_path / "b", *networks, replace(INT8, main=SPEC))
    with pytest.raises(ValueError, match="needs the inputs of people"):
        write_bundle(tmp_path / "b", upright(IMAGE, 1), networks[1], INT8)
    arguments = ["export", "x.pt", "--out", str(tmp_path / "b"), "--calibration", str(tmp_path)]
    assert main(arguments) == 1
    assert "add --precision int8" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
