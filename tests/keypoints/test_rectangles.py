"""Rectangles of persons in keypoint files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keypoint_files import FIGURE, MMPOSE, NORMALISED, SIZE, ULTRALYTICS, annotated, result
from PIL import Image

from dualhmr import Recoverer
from dualhmr.cli import main
from dualhmr.keypoints import open_keypoint_file

CORNERS = (240.0, 60.0, 400.0, 420.0)
WIDE = [240, 60, 160, 360]
"""The same as x, y, width, height."""
RELATIVE_BOX = {
    "x1": CORNERS[0] / SIZE[0],
    "y1": CORNERS[1] / SIZE[1],
    "x2": CORNERS[2] / SIZE[0],
    "y2": CORNERS[3] / SIZE[1],
}


def rectangles(folder: Path, content: Any, **options: Any) -> list[Any]:
    path = folder / "photo.json"
    path.write_text(json.dumps(content))
    boxes = open_keypoint_file(path).boxes(
        **{"image_name": "photo.jpg", "image_size": SIZE, **options}
    )
    return [None if box is None else box.tolist() for box in boxes]


@pytest.mark.parametrize(
    "content",
    [
        annotated(bbox=WIDE),
        [result(bbox=WIDE)],
        [result(box=WIDE, idx=0)],
        [MMPOSE],
        {"meta_info": {}, "instance_info": [{"frame_id": 0, "instances": [MMPOSE]}]},
        [ULTRALYTICS],
        [NORMALISED | {"box": RELATIVE_BOX}],
    ],
    ids=["COCO", "COCO results", "AlphaPose", "MMPose", "MMPose video", "Ultralytics", "relative"],
)
def test_what_tools_write(tmp_path: Path, content: Any) -> None:
    (box,) = rectangles(tmp_path, content)
    assert box == pytest.approx(CORNERS)


@pytest.mark.parametrize(
    "bbox",
    [None, [], [1, 2, 3], [1, 2, 0, 5], [1, 2, -3, 5], ["a"] * 4, "box", 3, [[1, 2, 1, 5]],
     [None] * 4, {"x1": 1}, [float("nan")] * 4, [1, 2, 10**290, 3], [True] * 4],
)  # fmt: skip
def test_what_is_no_rectangle(tmp_path: Path, bbox: object) -> None:
    assert rectangles(tmp_path, annotated(bbox=bbox)) == [None]


def test_everybody_keeps_the_number_of_the_keypoints(tmp_path: Path) -> None:
    persons = [
        result(bbox=WIDE),
        result(),
        result(score=0.01, bbox=WIDE),
        result(bbox=[0, 0, 9, 9]),
    ]
    boxes = rectangles(tmp_path, persons)
    assert boxes == [list(CORNERS), None, None, [0, 0, 9, 9]]
    keypoints = open_keypoint_file(tmp_path / "photo.json").keypoints(image_size=SIZE)
    assert len(keypoints) == len(boxes)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_rectangles_are_turned_as_the_keypoints_are(tmp_path: Path, orientation: int) -> None:
    """Around the keypoints before, around them after."""
    low, high = FIGURE.min(0), FIGURE.max(0)
    content = annotated(bbox=[*low, *(high - low)])
    upright = SIZE[::-1] if orientation in (6, 8) else SIZE
    options = {"image_size": upright, "exif_orientation": orientation, "points_frame": "raw"}
    (box,) = rectangles(tmp_path, content, **options)
    keypoints = open_keypoint_file(tmp_path / "photo.json").keypoints(**options)  # type: ignore[arg-type]
    points = keypoints.xy[0]
    assert box == pytest.approx([*points.min(0), *points.max(0)], abs=1e-3)


def test_the_command_takes_them_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    width, height = SIZE
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    content = annotated(bbox=[200, 20, 260, 420])
    content["images"][0]["file_name"] = "photo.png"
    file = tmp_path / "photo.json"
    file.write_text(json.dumps(content))

    def recovered(*options: str) -> Any:
        out = tmp_path / "out"
        arguments = ["recover", tmp_path / "photo.png", "--keypoints", file, "--out", out, *options]
        assert main([*map(str, arguments), "--save", "npz", "--max-steps", "1"]) == 0
        with np.load(out / "recovery.npz") as arrays:
            return arrays["vertices"]

    keypoints = open_keypoint_file(file).keypoints(image_size=SIZE)
    recoverer = Recoverer()
    usual = recoverer.recover(image, keypoints, max_steps=1).vertices
    boxed = recoverer.recover(image, keypoints, boxes=[200, 20, 460, 440], max_steps=1).vertices
    np.testing.assert_allclose(recovered(), usual, atol=1e-5)
    np.testing.assert_allclose(recovered("--boxes", "file"), boxed, atol=1e-5)
    assert np.abs(usual - boxed).max() > 1e-3
    file.write_text(json.dumps([result()]))
    capsys.readouterr()
    command = ["recover", str(tmp_path / "photo.png"), "--keypoints", str(file), "--boxes", "file"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "photo.json has no boxes of persons; leave --boxes file out" in capsys.readouterr().err
