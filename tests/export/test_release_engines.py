"""TensorRT-RTX engines of a release's networks, built without a GPU."""

import json
from pathlib import Path

import pytest
from helpers.narrow_networks import narrow_networks
from helpers.release_checkpoints import write_meta_hmr

from dualhmr_export.checkpoints import import_checkpoint
from dualhmr_export.export import EngineTarget, export, manifest_for

RTX = "sm86"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_networks(monkeypatch)


def test_engines_in_half_precision(tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "release.pt", tmp_path / "bundle"
    write_meta_hmr(checkpoint, "resnet")
    imported = import_checkpoint(checkpoint)
    manifest = manifest_for(
        imported, name="half", description="", provenance={}, precision="fp16", max_batch=4
    )
    said: list[str] = []
    report = export(imported, manifest, out, engines=EngineTarget(RTX), progress=said.append)
    assert report.holds
    assert sum("building a TensorRT engine" in line for line in said) == 2
    sizes = {path.name.split(".")[0]: path.stat().st_size for path in out.rglob("*.engine")}
    assert sizes.keys() == {"backbone", "auxiliary"}
    for name, size in sizes.items():
        assert size < 1.9 * (out / f"{name}.onnx").stat().st_size
    assert json.loads((out / "manifest.json").read_text())["max_batch"] == 4
