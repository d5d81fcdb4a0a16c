"""Bundles of PyTorch weights: `dualhmr export --format torch`."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.small_bundle import IMAGE_SPEC, MANIFEST, upright, write_small_bundle
from helpers.synthetic_person import IMAGE, synthetic_person

from dualhmr import EngineOptions, Recoverer, open_bundle
from dualhmr.bundle import MANIFEST as MANIFEST_FILE
from dualhmr.cli import main
from dualhmr.files import sha256
from dualhmr_export.bundle_folder import write_torch_bundle

IMAGE_MANIFEST = replace(MANIFEST, main=IMAGE_SPEC, auxiliary=IMAGE_SPEC)


@pytest.fixture(scope="module")
def torch_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "weights"
    write_torch_bundle(folder, upright(IMAGE_SPEC, 1), upright(IMAGE_SPEC, 2), IMAGE_MANIFEST)
    return folder


def test_it_recovers_what_the_whole_bundle_does(torch_bundle: Path, tmp_path: Path) -> None:
    whole = write_small_bundle(tmp_path / "whole", main=IMAGE_SPEC, auxiliary=IMAGE_SPEC)
    weights = {
        "head.safetensors",
        "backbone.safetensors",
        "auxiliary.safetensors",
    }
    assert {path.name for path in torch_bundle.iterdir()} == {MANIFEST_FILE, *weights}
    for name in weights:
        assert sha256(torch_bundle / name) == sha256(whole / name)
    keypoints = synthetic_person(0).keypoints
    expected = Recoverer(whole, backend="torch").recover(IMAGE, keypoints)
    for recoverer in (Recoverer(torch_bundle), Recoverer(torch_bundle, scope="all")):
        assert recoverer.backend == "torch"
    found = Recoverer(torch_bundle).recover(IMAGE, keypoints)
    np.testing.assert_array_equal(found.vertices, expected.vertices)


def test_other_backends_say_what_to_do(
    torch_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    advice = r'not backbone\.onnx; use backend="torch", or export it again without --format torch'
    with pytest.raises(FileNotFoundError, match=advice):
        Recoverer(torch_bundle, backend="onnxruntime")
    with pytest.raises(FileNotFoundError, match=advice):
        Recoverer(torch_bundle, options=EngineOptions(provider="cpu"))
    with pytest.raises(FileNotFoundError, match=r"comes without adaptation\.onnx"):
        Recoverer(torch_bundle, adaptation="onnx")
    assert main(["verify", str(torch_bundle)]) == 1
    assert "export it again without --format torch" in capsys.readouterr().err
    assert main(["info", str(torch_bundle)]) == 0


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("head.safetensors", r"lacks \['head\.safetensors'\]"),
        ("auxiliary.safetensors", r"lacks \['auxiliary\.onnx', 'backbone\.onnx'\]"),
    ],
)
def test_half_of_it_is_no_bundle(
    torch_bundle: Path, tmp_path: Path, lacking: str, message: str
) -> None:
    manifest = json.loads((torch_bundle / MANIFEST_FILE).read_text())
    del manifest["files"][lacking]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        open_bundle(tmp_path)


def test_the_command_needs_no_onnx_package(training: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    program = f"""
import sys
sys.path.append({str(Path(__file__).parents[1])!r})
for name in ("onnx", "onnxruntime", "onnxscript", "onnx_ir"):
    sys.modules[name] = None
from dualhmr.networks import BACKBONES
from helpers.tiny_image_backbone import TinyImageBackbone
BACKBONES["tiny_image"] = TinyImageBackbone
from dualhmr.cli import main
assert main(["export", {str(training)!r}, "--format", "torch", "--out", {str(out)!r}]) == 0
from dualhmr import open_bundle
from dualhmr.engines import open_networks
print(open_networks(open_bundle({str(out)!r})).backend)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "torch\n"
    assert "PyTorch alone runs it" in done.stderr
    assert open_bundle(out).manifest.description.startswith("dualhmr training")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16"], "--format torch writes weights in fp32; leave --precision out"),
        (["--schedule", "paper"], "--schedule is of adaptation.onnx, which --format torch does"),
        (["--graphs-only"], "--format torch writes no graphs; leave --graphs-only out"),
        (["--target", "sm86"], "--target applies to engines only"),
    ],
)
def test_options_of_other_formats(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "hmr.pt", "--format", "torch", "--out", str(tmp_path / "b"), *options]
    assert main(command) == 1
    assert message in capsys.readouterr().err
