"""Damaged and hostile keypoint files: sane keypoints, or a ValueError that names the file.

`pytest tests/fuzz --fuzz-count 3000 -s` tries more inputs than CI does, and prints the counts.
"""

import copy
import io
import json
import random
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.damage import BYTES, ODD_VALUES, cut, flip_bits, nest
from helpers.keypoint_files import FIGURE, SIZE, TOOLS, annotated, flat, named, openpose_18

from dualhmr.keypoints import COCO_17, Keypoints, read_keypoints
from dualhmr.keypoints.files import open_keypoint_file

IN_CI = 1500
LONGEST_MESSAGE = 1000
MEMORY_MB = 200
"""Growth of the process's peak over all inputs."""

ODD = (*ODD_VALUES, 5.0, [1], {"keypoints": None}, "photo.jpg", "nose")


def documents() -> list[Any]:
    rows = np.reshape(flat(0.9), (17, 3)).tolist()
    two = annotated()
    two["images"].append({"id": "2", "file_name": "other.jpg", "width": 480, "height": 640})
    two["annotations"] *= 3
    whole = {
        "foot_kpts": flat(2, FIGURE[:6]),
        "face_kpts": flat(0.5, np.resize(FIGURE, (68, 2))),
        "lefthand_kpts": flat(0.5, np.resize(FIGURE, (21, 2))),
        "righthand_kpts": flat(0, np.resize(FIGURE, (21, 2))),
    }
    return [
        *TOOLS.values(),
        *(tool * 3 for tool in TOOLS.values() if isinstance(tool, list)),
        two,
        annotated(**whole),
        named(list(COCO_17.names)[::-1], range(16, -1, -1)),
        {"version": 1.3, "people": [{"pose_keypoints_2d": openpose_18()}] * 2},
        {"photo.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": openpose_18()}]}},
        rows,
        [rows, rows],
    ]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document, with one of its keys or indices."""
    keys = value if isinstance(value, dict) else range(len(value))
    found = []
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def changed(document: Any, rng: random.Random) -> Any:
    """Some values replaced, deleted, repeated or moved."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        everywhere = places(document)
        if not everywhere:
            break
        container, key = rng.choice(everywhere)
        kind = rng.randrange(5)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        elif kind == 2 and isinstance(container, dict):
            container[rng.choice(("keypoints", "score", "image_id", "people", "x"))] = (
                container.pop(key)
            )
        elif kind == 3:
            other, place = rng.choice(everywhere)
            container[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
        else:
            container[key] = copy.deepcopy(rng.choice(ODD))
    return document


def _keys(container: Any) -> Any:
    return container if isinstance(container, dict) else range(len(container))


DAMAGES = (nest, *BYTES)


def json_file(rng: random.Random) -> bytes:
    document = changed(rng.choice(documents()), rng) if rng.random() < 0.8 else rng.choice(ODD)
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-be"))
    content = json.dumps(document).encode(encoding)
    return rng.choice(DAMAGES)(content, rng) if content and rng.random() < 0.2 else content


def npy_file(rng: random.Random) -> bytes:
    shapes = ((17, 3), (2, 17, 2), (0, 17, 3), (3, 26, 3), (1, 5, 3), (17,), (2, 2, 17, 3), (17, 0))
    kinds = ("f4", "f8", "i2", "u8", ">f4", "?", "c8", "U3", "S2", "f2")
    array = np.zeros(rng.choice(shapes)) + rng.choice((0, 1, 7, np.nan, np.inf, -1))
    file = io.BytesIO()
    with np.errstate(all="ignore"):
        np.save(
            file, np.nan_to_num(array).astype(rng.choice(kinds)) if rng.random() < 0.7 else array
        )
    content = file.getvalue()
    return rng.choice((flip_bits, cut))(content, rng) if rng.random() < 0.6 else content


def options(rng: random.Random) -> dict[str, Any]:
    choices: dict[str, tuple[Any, ...]] = {
        "image_name": (None, "photo.jpg", "other.jpg", "000001.jpg", "", "a/b\\c", "é" * 300),
        "image_size": (None, SIZE, SIZE, SIZE[::-1], (1, 1)),
        "exif_orientation": (1, 1, 3, 6, 8),
        "points_frame": (None, None, "raw", "upright"),
        "keypoint_set": (None, None, None, "coco_17", "halpe_26"),
        "score_scale": (1.0, 1.0, 6.0, 100.0),
        "min_person_score": (0.2, 0.0),
    }
    if rng.random() < 0.6:
        return {"image_name": "photo.jpg", "image_size": SIZE}
    return {name: rng.choice(values) for name, values in choices.items()}


def check_sane(keypoints: Keypoints) -> None:
    """What Keypoints promise holds for all that a file can give."""
    assert isinstance(keypoints, Keypoints)
    assert np.isfinite(keypoints.xy).all()
    assert ((keypoints.confidence >= 0) & (keypoints.confidence <= 1)).all()
    assert keypoints.xy.shape == (len(keypoints), len(keypoints.set), 2)
    for person, problem in keypoints.problems.items():
        assert not keypoints.confidence[person].any()
        assert 0 < len(problem) <= LONGEST_MESSAGE
    # Where a point is missing in every tool's way, it counts for nothing.
    at_corner = (keypoints.xy == 0).all(axis=-1)
    assert not keypoints.confidence[at_corner].any()


def check_boxes(path: Path, arguments: dict[str, Any], persons: int) -> None:
    """Where keypoints can be read, so can rectangles, one for each person or none."""
    of_scores = ("score_scale", "min_confidence")
    boxes = open_keypoint_file(path).boxes(
        **{name: value for name, value in arguments.items() if name not in of_scores}
    )
    assert len(boxes) == persons
    for box in boxes:
        if box is not None:
            assert np.isfinite(box).all()
            assert (box[:2] < box[2:]).all()


def test_keypoint_files(tmp_path: Path, fuzz_count: int | None) -> None:
    counts: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(fuzz_count or IN_CI):
        rng = random.Random(seed)
        kind = "npy" if seed % 5 == 0 else "json"
        path = tmp_path / f"k.{kind}"
        path.write_bytes(npy_file(rng) if kind == "npy" else json_file(rng))
        arguments = options(rng)
        try:
            keypoints = read_keypoints(path, **arguments)
            check_sane(keypoints)
            check_boxes(path, arguments, len(keypoints))
            counts[f"{kind} read"] += 1
        except ValueError as error:
            message = str(error)
            if not message.startswith(str(path)) or len(message) > LONGEST_MESSAGE:
                pytest.fail(f"seed {seed}: {message}")
            counts[f"{kind} ValueError"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n{dict(sorted(counts.items()))}; peak memory grew by {growth:.0f} MB")
    assert growth < MEMORY_MB
    assert len(counts) == 4


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"9" * 5000, b'{"a":' * 100_000, b"", b"\xff" * 9]
)
def test_deep_and_huge_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"k\.json: not JSON") as caught:
        open_keypoint_file(path)
    assert len(str(caught.value)) <= LONGEST_MESSAGE
