import json
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import pytest
import torch
from helpers.small_bundle import SPEC, upright

from dualhmr import Recoverer, open_bundle
from dualhmr.body.files import FREE_BODY
from dualhmr.objective.weights import LossWeights
from dualhmr.weights import save_weights
from dualhmr_export.default_bundle import main


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What a training leaves behind."""
    folder = tmp_path / "trained"
    folder.mkdir()
    for seed, role in enumerate(("main", "auxiliary")):
        save_weights(upright(SPEC, seed), folder / f"{role}.safetensors")
    config = {"main": asdict(SPEC), "auxiliary": asdict(SPEC), "weights": asdict(LossWeights())}
    record = {"commit": "abc", "body": FREE_BODY, "config": config}
    (folder / "training.json").write_text(json.dumps(record))
    return folder


def test_bundle_holds_what_was_trained(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the graph adapts as PyTorch does is in `test_adaptation_graph_bundles.py`."""
    graphs = mock.Mock()
    monkeypatch.setattr("dualhmr_export.write_bundle.write_adaptation_graph", graphs)
    out = tmp_path / "bundle"
    main(["--trained", str(trained), "--out", str(out), "--schedule.adam_rate", "3e-4"])
    (path, *_, body), options = graphs.call_args
    assert (path.name, body.name, options["steps"]) == ("adaptation.onnx", FREE_BODY, False)
    manifest = open_bundle(out).manifest
    assert manifest.main == manifest.auxiliary == SPEC
    assert manifest.description.endswith(
        "The main network reads the 2D keypoints, the auxiliary one the 2D keypoints."
    )
    assert manifest.schedule.adam_rate == 3e-4
    assert json.loads(manifest.provenance["training"])["commit"] == "abc"
    adapted = dict(Recoverer(out, adaptation="torch")._pipeline.fitter._network.named_parameters())
    expected = upright(SPEC, 0).head.fc2.weight.half().float()
    torch.testing.assert_close(adapted["fc2.weight"], expected, atol=0, rtol=0)


def test_folders_without_a_training(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no training\.json"):
        main(["--trained", str(tmp_path), "--out", str(tmp_path / "b")])
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ValueError, match=r"training\.json: not JSON, damaged or cut short"):
        main(["--trained", str(tmp_path), "--out", str(tmp_path / "b")])
    assert not (tmp_path / "b").exists()
