"""benchmarks/scripts/detection.py on made-up annotations of the example photograph."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dualhmr.example import example

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "scripts" / "detection.py"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The example with its person, and with somebody where nobody is."""
    image, keypoints = example()
    Image.fromarray(image).save(tmp_path / "photo.png")
    labelled = np.concatenate([keypoints.xy[0], 2 * keypoints.confidence[0, :, None]], 1)
    elsewhere = np.where(labelled[:, 2:] > 0, labelled + np.array([300, -100, 0]), 0)
    annotations: list[dict[str, Any]] = [
        {
            "image_id": 1,
            "keypoints": points.ravel().tolist(),
            "bbox": [20, 100, 300, 400],
            "area": 60000,
        }
        for points in (labelled, elsewhere)
    ]
    document = {"images": [{"id": 1, "file_name": "photo.png"}], "annotations": annotations}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0


def test_variants_are_of_the_same_people(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = ("mirrored", "smaller", "crops")
    annotations = photos / "coco.json"
    run(monkeypatch, photos, "--annotations", annotations, "--variants", *variants, "--no-bodies")
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| photo.png")]
    similarities = [float(row.split("|")[2]) for row in rows]
    assert len(rows) == 2 * 3
    assert min(similarities[::2]) > 0.5  # the person
    assert max(similarities[1::2]) < 0.5  # nobody


def test_who_is_found_and_how_well(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos / "out"
    run(monkeypatch, photos, "--annotations", photos / "coco.json", "--out", out)
    printed = capsys.readouterr().out
    first, second = (line for line in printed.splitlines() if line.startswith("| photo.png"))
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert float(cells[1]) > 0.5  # OKS
    assert float(cells[2]) < 10  # % of the box
    before, after, annotated, between = map(float, cells[3:])
    assert after < before
    assert 0 < annotated < 10
    assert 0 < between < 200
    assert second.count(" - ") == 5
    assert "2 annotated persons in 1 photographs: 50% found with OKS >= 0.5" in printed
    assert (out / "whole" / "photo" / "keypoints.png").exists()
