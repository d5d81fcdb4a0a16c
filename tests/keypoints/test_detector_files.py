"""Files as detectors and annotators write them, rebuilt small: all hold the same stick figure."""

import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.keypoint_files import (
    FIGURE,
    MMPOSE,
    NORMALISED,
    SIZE,
    TOOLS,
    ULTRALYTICS,
    annotated,
    flat,
    named,
    openpose_18,
    padded,
    result,
)
from hypothesis import given
from hypothesis import strategies as st

from dualhmr.keypoints import (
    BODY_25,
    COCO_17,
    COCO_WHOLEBODY_133,
    HALPE_26,
    HALPE_136,
    KeypointSet,
    open_keypoint_file,
    read_keypoints,
)
from dualhmr.keypoints.files import KeypointFile

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(document: Any, encoding: str = "utf-8") -> Path:
        path = tmp_path / "keypoints.json"
        path.write_text(json.dumps(document, ensure_ascii=False), encoding=encoding)
        return path

    return to_file


def assert_is_figure(path: Path, confidence: float | None = None, **options: Any) -> None:
    keypoints = read_keypoints(path, image_name="photo.jpg", image_size=SIZE, **options)
    rows = [keypoints.set.index(name) for name in COCO_17.names]
    np.testing.assert_allclose(keypoints.xy[0, rows], FIGURE, rtol=1e-6)
    if confidence is not None:
        np.testing.assert_allclose(keypoints.confidence[0, rows], confidence, rtol=1e-6)


@pytest.mark.parametrize("tool", TOOLS)
def test_files_of_tools(write: Write, tool: str) -> None:
    path = write(TOOLS[tool])
    if tool == "COCO results":
        path = path.rename(path.with_name("k.json"))
        keypoints = read_keypoints(path, image_name="COCO_val2014_000000000001.jpg")
        np.testing.assert_array_equal(keypoints.xy[0], FIGURE)
    else:
        assert_is_figure(path, 0.9)


def test_the_sets_of_alphapose(write: Write) -> None:
    for count, expected in ((26, HALPE_26), (136, HALPE_136), (133, COCO_WHOLEBODY_133)):
        path = write([result(keypoints=flat(0.9, padded(count)))])
        assert read_keypoints(path).set is expected
    assert HALPE_136.names[:26] == HALPE_26.names


@pytest.mark.parametrize(
    ("people", "field"), [("people", "pose_keypoints_2d"), ("bodies", "joints")]
)
@pytest.mark.parametrize("several", [False, True])
def test_the_other_forms_of_alphapose(write: Write, people: str, field: str, several: bool) -> None:
    image = {"version": "AlphaPose v0.3", people: [{field: openpose_18()}]}
    path = write({"other.jpg": image | {people: []}, "photo.jpg": image} if several else image)
    assert_is_figure(path, 0.9)
    # AlphaPose computes the neck, for Halpe's models even from the wrong keypoints.
    keypoints = read_keypoints(path, image_name="photo.jpg")
    assert keypoints.confidence[0, keypoints.set.index("neck")] == 0


def test_openpose_with_18_keypoints(write: Write) -> None:
    path = write({"version": 1.3, "people": [{"pose_keypoints_2d": openpose_18()}]})
    assert_is_figure(path, 0.9)
    assert read_keypoints(path).set is BODY_25
    assert read_keypoints(path).confidence[0, BODY_25.index("neck")] > 0


def test_names_in_mmposes_meta_info_count(write: Write) -> None:
    order = np.random.default_rng(0).permutation(17)
    person = MMPOSE | {"keypoints": FIGURE[order].tolist()}
    meta = {"keypoint_id2name": {str(i): COCO_17.names[row] for i, row in enumerate(order)}}
    assert_is_figure(write({"meta_info": meta, "instance_info": [person]}), 0.9)


def test_frames_are_found_by_number(write: Write) -> None:
    frames = [
        {"frame_id": number, "instances": [MMPOSE | {"keypoints": (FIGURE + number).tolist()}]}
        for number in (1, 2, 12)
    ]
    path = write({"meta_info": {}, "instance_info": frames})
    np.testing.assert_array_equal(read_keypoints(path, image_name="f_0012.png").xy[0], FIGURE + 12)
    with pytest.raises(ValueError, match=r"'f_0003.png' is not listed"):
        read_keypoints(path, image_name="f_0003.png")
    with pytest.raises(ValueError, match="holds 2 images and does not say which is which"):
        read_keypoints(write([[MMPOSE], [MMPOSE]]), image_name="photo.jpg")


def test_fractions_of_an_image_need_its_size(write: Write) -> None:
    with pytest.raises(ValueError, match="fractions of the image's size: pass image_size"):
        read_keypoints(write([NORMALISED]))


# Missing keypoints


@pytest.mark.parametrize(
    "point", [(0, 0, 1), (0, 0, 2), (0, 0, 0), (-1, -1, 1), (None, None, None), (0.0, -0.0, 0.9)]
)
def test_missing_keypoints_in_every_layout(write: Write, point: tuple[Any, ...]) -> None:
    """OpenPose's write_coco_json gives them as 0, 0, 1."""
    triplets: list[Any] = np.reshape(flat(1), (17, 3)).tolist()
    triplets[13] = list(point)
    values = [number for row in triplets for number in row]
    scores = [row[2] for row in triplets]
    columns = [[row[i] for row in triplets] for i in range(2)]
    for document in (
        [{"image_id": "photo.jpg", "keypoints": values, "score": 0.0}],
        annotated(keypoints=values),
        annotated(keypoints=triplets),
        {"people": [{"pose_keypoints_2d": values}]},
        [MMPOSE | {"keypoints": [row[:2] for row in triplets], "keypoint_scores": scores}],
        [{"keypoints": {"x": columns[0], "y": columns[1], "visible": scores}}],
        [{"keypoints": {"x": columns[0], "y": columns[1]}}],
        triplets,
        [triplets],
    ):
        keypoints = read_keypoints(write(document), image_name="photo.jpg", keypoint_set="coco_17")
        assert keypoints.confidence[0, 13] == 0
        assert (np.delete(keypoints.confidence[0], 13) == 1).all()


def test_nan_in_an_array_is_missing(tmp_path: Path) -> None:
    array = np.reshape(flat(1), (1, 17, 3))
    array[0, 13] = np.nan
    np.save(tmp_path / "k.npy", array)
    assert read_keypoints(tmp_path / "k.npy").confidence[0].sum() == 16
    signalling = array.astype(np.float32)
    signalling[0, 13].view(np.uint32)[:] = 0x7FA00000
    np.save(tmp_path / "k.npy", signalling)
    assert read_keypoints(tmp_path / "k.npy").confidence[0].sum() == 16


# Scores


def test_scores_on_another_scale_are_refused_or_divided(write: Write) -> None:
    scores = [5.0] * 15 + [0.45, 0.5]
    values = np.column_stack([FIGURE, scores]).ravel().tolist()
    path = write([result(keypoints=values)])
    with pytest.raises(ValueError, match=r"confidences reach 5.*Pass score_scale"):
        read_keypoints(path)
    confidence = read_keypoints(path, score_scale=6).confidence[0]
    np.testing.assert_allclose(confidence, [5 / 6] * 15 + [0, 0], rtol=1e-6)


def test_the_scale_is_the_whole_files(write: Write) -> None:
    guesses = result(keypoints=flat(0.45))
    path = write([guesses, result(image_id="other.jpg", keypoints=flat(5))])
    with pytest.raises(ValueError, match="confidences reach 5"):
        read_keypoints(path, image_name="photo.jpg")
    assert not read_keypoints(path, image_name="photo.jpg", score_scale=6).confidence.any()


def test_flags_are_no_scores_and_scores_no_flags(write: Write) -> None:
    assert_is_figure(write(annotated()), 1, score_scale=100)
    assert_is_figure(write(annotated(keypoints=flat(1))), 1, score_scale=100)
    assert_is_figure(write(annotated(keypoints=flat(0.7))), 0.7)
    assert not read_keypoints(write(annotated(keypoints=flat(0.1)))).confidence.any()
    path = write(annotated(keypoints=flat(0.1)))
    assert_is_figure(path, 0.1, min_confidence=0.05)


@pytest.mark.parametrize("field", ["score", "bbox_score", "confidence"])
def test_persons_of_low_score_are_left_out_and_listed(write: Write, field: str) -> None:
    records = [{"keypoints": flat(0.9), field: score} for score in (0.9, 0.02, 0.5, 0.0, None)]
    path = write(records)
    keypoints = read_keypoints(path)
    assert list(keypoints.problems) == [1]
    assert "0.02 is below 0.2" in keypoints.problems[1]
    np.testing.assert_array_equal(keypoints.confidence.any(axis=1), [1, 0, 1, 1, 1])
    assert not read_keypoints(path, min_person_score=0).problems
    assert list(read_keypoints(path, min_person_score=0.6).problems) == [1, 2]
    assert len(read_keypoints(write([records[1]])).problems) == 1


# One bad person


@pytest.mark.parametrize(
    "bad", [[], None, [1, 2], "text", ["1"] * 51, 5, {"x": 1}, [[1], [2, 3]], flat()[:30]]
)
def test_a_bad_person_costs_nobody_else(write: Write, bad: Any) -> None:
    good = flat(0.9)
    rows = np.reshape(good, (17, 3)).tolist()
    for document in (
        annotated() | {"annotations": [{"image_id": 1, "keypoints": k} for k in (good, bad, good)]},
        [result(keypoints=k) for k in (good, bad, good)],
        [{"keypoints": k} for k in (good, bad, good)],
        {"people": [{"pose_keypoints_2d": k} for k in (good, bad, good)]},
        [MMPOSE, MMPOSE | {"keypoints": bad}, MMPOSE],
        [ULTRALYTICS, ULTRALYTICS | {"keypoints": bad}, ULTRALYTICS],
        [rows, bad, rows],
    ):
        keypoints = read_keypoints(write(document), image_size=SIZE)
        np.testing.assert_array_equal(keypoints.confidence.any(axis=1), [True, False, True])
        assert list(keypoints.problems) == [1]
        assert len(keypoints.problems[1]) < 300
        assert keypoints.select([2, 1]).problems == {1: keypoints.problems[1]}


def test_a_bad_record_costs_nobody_else(write: Write) -> None:
    for document in (
        [result(), None, result()],
        [MMPOSE, "text", MMPOSE],
        {
            "people": [
                {"pose_keypoints_2d": openpose_18()},
                None,
                {"pose_keypoints_2d": openpose_18()},
            ]
        },
        annotated()
        | {"annotations": [{"image_id": 1, "keypoints": flat()}, 7, annotated()["annotations"][0]]},
    ):
        assert list(read_keypoints(write(document)).problems) == [1]
    entries = [None, {"id": 3}, *annotated()["images"]]
    assert_is_figure(write(annotated() | {"images": entries}))


# Ids and names of images


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), ("1", 1), (1, 1.0), (1.0, 1), ("1", 1.0), ("a", "a")]
)
def test_ids_of_different_types(write: Write, one: Any, other: Any) -> None:
    document = annotated(image_id=other)
    document["images"][0]["id"] = one
    document["images"].append({"id": 2, "file_name": "other.jpg"})
    assert_is_figure(write(document))


def test_result_ids_of_different_types(write: Write) -> None:
    for number in (7, 7.0, "7", "000007", "000007.jpg", "in/000007.jpg"):
        path = write([result(image_id=number), result(image_id=8)])
        assert len(read_keypoints(path, image_name="000007.jpg")) == 1


def test_names_with_zeros_stay_apart(write: Write) -> None:
    path = write([result(image_id="01"), result(image_id="1", keypoints=flat(0.9, FIGURE + 1))])
    np.testing.assert_array_equal(read_keypoints(path, image_name="1.jpg").xy[0], FIGURE + 1)
    np.testing.assert_array_equal(read_keypoints(path, image_name="01.jpg").xy[0], FIGURE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_and_unicode_forms(write: Any, encoding: str) -> None:
    name = "Größe é.jpg"
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        document = annotated()
        document["images"][0]["file_name"] = unicodedata.normalize(form, name)
        document["images"].append({"id": 2, "file_name": "other.jpg"})
        path = write(document, encoding)
        image_name = unicodedata.normalize(other, name)
        assert len(read_keypoints(path, image_name=image_name)) == 1


# Names of keypoints


@given(st.permutations(range(17)))
def test_the_order_of_names_changes_nothing(order: list[int]) -> None:
    names = [COCO_17.names[row] for row in order]
    for options in ({}, {"keypoint_set": "coco_17"}):
        keypoints = KeypointFile(Path("k.json"), named(names, order)).keypoints(**options)
        assert keypoints.set is COCO_17
        np.testing.assert_array_equal(keypoints.xy[0], FIGURE)


def spellings() -> Iterator[list[str]]:
    names = COCO_17.names
    yield [name.replace("_", " ").title() for name in names]
    yield [name.replace("_", "-").upper() for name in names]
    yield [name.title().replace("_", "") for name in names]
    yield [name.replace("left_", "L").replace("right_", "R") for name in names]
    yield [name.replace("left", "l").replace("right", "r") for name in names]
    yield ["_".join(reversed(name.split("_"))) for name in names]
    yield ["".join(chr(ord(c) + 0xFEE0) for c in name) for name in names]  # full width


@pytest.mark.parametrize("names", list(spellings()))
def test_spellings_of_names(write: Write, names: list[str]) -> None:
    order = np.random.default_rng(1).permutation(17)
    path = write(named([names[row] for row in order], order))
    assert_is_figure(path)
    assert read_keypoints(path).set is COCO_17


def test_another_sets_names_are_used(write: Write) -> None:
    # Human3.6M's, of which the pelvis, the spine and the head are other points than ours.
    rows = [0, 12, 14, 16, 11, 13, 15, 0, 0, 0, 0, 5, 7, 9, 6, 8, 10]
    names = ["root", "rhip", "rknee", "rankle", "lhip", "lknee", "lankle", "belly", "neck", "nose",
             "head", "lshoulder", "lelbow", "lwrist", "rshoulder", "relbow", "rwrist"]  # fmt: skip
    path = write(named(names, rows))
    keypoints = read_keypoints(path)
    for row, name in ((0, "nose"), (12, "right_hip"), (9, "left_wrist")):
        np.testing.assert_array_equal(keypoints.xy[0, keypoints.set.index(name)], FIGURE[row])
    assert keypoints.confidence[0].sum() == 14
    with pytest.raises(ValueError, match=r"its file says right_hip where .*'coco_17' has left_eye"):
        read_keypoints(path, keypoint_set="coco_17")
    own = KeypointSet("own", tuple(f"point_{i}" for i in range(17)))
    assert read_keypoints(path, keypoint_set=own).set is own


def test_names_that_say_nothing_need_a_set(write: Write) -> None:
    path = write(named([str(number) for number in range(1, 18)]))  # CVAT's, unless renamed
    with pytest.raises(
        ValueError, match=r"keypoints \(1, 2, 3, ...\) are not .* pass keypoint_set"
    ):
        read_keypoints(path)
    assert_is_figure(path, keypoint_set="coco_17")


def test_the_category_of_an_annotation_counts(write: Write) -> None:
    order = np.random.default_rng(2).permutation(17)
    person = {"image_id": 1, "category_id": "2", "keypoints": flat(xy=FIGURE[order])}
    dog = {"image_id": 1, "category_id": 1, "keypoints": flat()}
    plate = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
    document = annotated() | {
        "annotations": [dog, plate, person, dog],
        "categories": [
            {"id": 1, "name": "dog", "keypoints": ["tail", *COCO_17.names[:16]]},
            {"id": 2, "name": "person", "keypoints": [COCO_17.names[row] for row in order]},
            {"id": 3, "name": "plate"},
        ],
    }
    path = write(document)
    assert_is_figure(path)
    assert len(read_keypoints(path)) == 1


def test_persons_of_two_categories_come_in_one_order(write: Write) -> None:
    document = annotated()
    document["annotations"].append(
        {"image_id": 1, "category_id": 2, "keypoints": flat(xy=FIGURE[::-1])}
    )
    names = list(COCO_17.names)
    document["categories"] = [
        {"id": 1, "keypoints": names},
        {"id": 2, "keypoints": names[::-1]},
    ]
    np.testing.assert_array_equal(read_keypoints(write(document)).xy, [FIGURE, FIGURE])


def test_a_large_file_is_read_once(write: Write) -> None:
    file = open_keypoint_file(write([result(image_id=f"{i}.jpg") for i in range(50)]))
    assert file._images is file._images
    assert len(file.keypoints(image_name="49.jpg")) == 1
