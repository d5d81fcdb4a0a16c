import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualhmr.body.arrays import body_keypoints
from dualhmr.body.files import read_body
from dualhmr.keypoints import (
    BODY_25,
    COCO_17,
    COCO_WHOLEBODY_133,
    HALPE_26,
    keypoint_file_for,
    open_keypoint_file,
    read_keypoints,
)
from dualhmr.keypoints.records import find_image
from dualhmr.plausibility import plausible_keypoints

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(document: Any) -> Path:
        path = tmp_path / "keypoints.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return to_file


def flat(count: int = 17, start: float = 10, visibility: float = 2) -> list[float]:
    """Return x, y, v of keypoint k at (start + k, start + 2k)."""
    return [n for k in range(count) for n in (start + k, start + 2 * k, visibility)]


def image(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 640, "height": 480}


def coco() -> dict[str, Any]:
    return {
        "images": [image(1, "one.jpg"), image(2, "two.jpg"), image(3, "nobody.jpg")],
        "annotations": [
            {"image_id": 1, "keypoints": flat(start=10)},
            {"image_id": 2, "keypoints": flat(start=20)},
            {"image_id": 1, "keypoints": flat(start=30, visibility=1)},
            {"image_id": 1, "keypoints": [0] * 51},
            {"image_id": 3, "keypoints": [0] * 51},
        ],
    }


def whole_body(image_id: int = 1) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "keypoints": flat(17, 1),
        "foot_kpts": flat(6, 100, 0.1),
        "face_kpts": flat(68, 200),
        "lefthand_kpts": flat(21, 300, 0),
        "righthand_kpts": flat(21, 400),
    }


# The real file: 15 persons on 11 images.


def test_all_persons_of_the_real_file_are_read_and_recoverable(shared_folder: Path) -> None:
    file = open_keypoint_file(shared_folder / "photos" / "person_keypoints.json")
    persons = 0
    for listed in file.content["images"]:
        size = (listed["width"], listed["height"])
        keypoints = file.keypoints(image_name=listed["file_name"], image_size=size)
        assert keypoints.set is COCO_17
        assert set(np.unique(keypoints.confidence)) <= {0, 1}
        plausible = plausible_keypoints(keypoints, size, body_keypoints(read_body()))
        assert plausible.persons == list(range(len(keypoints)))
        assert not plausible.warnings
        persons += len(keypoints)
    assert persons == 15


def test_a_real_person(shared_folder: Path) -> None:
    photos = shared_folder / "photos"
    keypoints = read_keypoints(
        photos / "person_keypoints.json", image_name=str(photos / "000000433998.jpg")
    )
    assert len(keypoints) == 1
    np.testing.assert_array_equal(keypoints.xy[0, COCO_17.index("nose")], (346, 202))
    assert keypoints.confidence[0, COCO_17.index("right_ear")] == 0
    assert keypoints.confidence[0].sum() == 16


# COCO annotations


def test_persons_have_their_places_in_the_file(write: Write) -> None:
    keypoints = read_keypoints(write(coco()), image_name="one.jpg", image_size=(640, 480))
    np.testing.assert_array_equal(keypoints.xy[:, 0], [(10, 10), (30, 30), (0, 0)])
    # Hidden counts as labelled; the last has no labelled keypoint.
    np.testing.assert_array_equal(keypoints.confidence[:, 0], [1, 1, 0])


@pytest.mark.parametrize("name", ["one.jpg", "one.png", "one", "photos/one.jpg", "C:\\in\\one.jpg"])
def test_images_are_found_by_name_in_any_folder(write: Write, name: str) -> None:
    assert len(read_keypoints(write(coco()), image_name=name)) == 3


def test_a_single_image_needs_no_name(write: Write) -> None:
    document = coco()
    document["images"] = document["images"][:1]
    assert len(read_keypoints(write(document))) == 3


def test_trailing_folders_tell_equal_names_apart() -> None:
    listed = ["train/1.jpg", "val/1.jpg"]
    assert find_image("/data/val/1.jpg", listed) == 1
    with pytest.raises(ValueError, match=r"2 images .* could be '1.jpg' \(train/1.jpg, val/1.jpg"):
        find_image("1.jpg", listed)


def test_whole_body_annotations(write: Write) -> None:
    keypoints = read_keypoints(
        write({"images": [image(1, "a.jpg")], "annotations": [whole_body()]})
    )
    assert keypoints.set is COCO_WHOLEBODY_133
    for name, start, confidence in [
        ("nose", 1, 1),
        ("left_big_toe", 100, 1),  # fractional visibility: labelled
        ("face_0", 200, 1),
        ("left_hand_0", 300, 0),
        ("right_hand_0", 400, 1),
    ]:
        row = COCO_WHOLEBODY_133.index(name)
        np.testing.assert_array_equal(keypoints.xy[0, row], start)
        assert keypoints.confidence[0, row] == confidence


def test_persons_of_two_sets_are_put_in_the_larger(write: Write) -> None:
    plain = {"image_id": 1, "keypoints": flat()}
    document = {"images": [image(1, "a.jpg")], "annotations": [whole_body(), plain]}
    keypoints = read_keypoints(write(document))
    assert keypoints.set is COCO_WHOLEBODY_133
    np.testing.assert_array_equal(keypoints.confidence.sum(axis=1), [112, 17])


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


# Half of AP-10K's names are a person's, too.
ANIMAL = ("left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow",
          "left_front_paw", "right_shoulder", "right_elbow", "right_front_paw", "left_hip",
          "left_knee", "left_back_paw", "right_hip", "right_knee")  # fmt: skip


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (without(coco(), "images"), "'images' must be a list"),
        (coco() | {"images": [{"id": 1}]}, "'images' must be objects with id and file_name; none"),
        (coco() | {"annotations": 7}, "'annotations' must be a list"),
        (coco() | {"annotations": ["none"]}, "person 0: its annotation is no object, or has no im"),
        (coco() | {"annotations": [{"image_id": 1}]}, "have no keypoints; COCO's are in"),
        (coco() | {"annotations": [{"image_id": 7, "keypoints": flat()}]}, "image_id 7, but id 1"),
        (coco() | {"annotations": [{"image_id": 1, "keypoints": [1, 2]}]}, "but is 2 values"),
        (coco() | {"annotations": [{"image_id": 1, "keypoints": ["1"] * 51}]}, "holds '1'"),
        (coco() | {"annotations": [{"image_id": 1, "keypoints": [10**400] * 51}]}, "401 digits"),
        (coco() | {"annotations": [{"image_id": 1, "keypoints": flat(9)}]}, "set has 9 keypoints"),
        (
            coco() | {"categories": [{"keypoints": ["root", *ANIMAL]}]},
            r"keypoints \(root, left_eye.*not those of a person.*pass keypoint_set",
        ),
        (
            coco() | {"images": [image(1, "one.jpg"), image(1, "two.jpg")]},
            "2 of its images have one id",
        ),
    ],
)
def test_unfit_coco_files(write: Write, document: dict[str, Any], message: str) -> None:
    path = write(document)
    with pytest.raises(ValueError, match=message) as caught:
        read_keypoints(path, image_name="one.jpg")
    assert str(caught.value).startswith(f"{path}: ")


def test_the_image_must_be_listed_and_have_persons(write: Write) -> None:
    path = write(coco())
    with pytest.raises(ValueError, match=r"'three.jpg' is not listed.*3 images \(one.jpg, two.jpg"):
        read_keypoints(path, image_name="three.jpg")
    with pytest.raises(ValueError, match=r"lists 3 images .*say which one with image_name"):
        read_keypoints(path)


def test_nobody_is_zero_persons(write: Write) -> None:
    document = coco() | {"annotations": []}
    assert len(read_keypoints(write(document), image_name="one.jpg")) == 0
    assert len(read_keypoints(write(people()))) == 0
    assert not read_keypoints(write(coco()), image_name="nobody.jpg").confidence.any()


# Results lists


@pytest.mark.parametrize("image_id", ["000042.jpg", "somewhere/000042.jpg", 42])
def test_results_by_name_and_by_number(write: Write, image_id: Any) -> None:
    path = write(
        [
            {"image_id": image_id, "keypoints": flat(26, 10, 0.9), "score": 1.7},
            {"image_id": "other.jpg", "keypoints": flat(26, 20, 0.9)},
            {"image_id": image_id, "keypoints": flat(26, 30, 0.1)},
        ]
    )
    keypoints = read_keypoints(path, image_name="in/000042.jpg")
    assert keypoints.set is HALPE_26
    np.testing.assert_array_equal(keypoints.xy[:, 0, 0], (10, 30))
    np.testing.assert_allclose(keypoints.confidence[:, 0], (0.9, 0), rtol=1e-6)
    with pytest.raises(ValueError, match="lists 2 images"):
        read_keypoints(path)
    with pytest.raises(ValueError, match=r"'43.jpg' is not listed"):
        read_keypoints(path, image_name="43.jpg")


def test_unfit_results(write: Write) -> None:
    with pytest.raises(ValueError, match="image_id must be a file name or a number"):
        read_keypoints(write([{"image_id": [1], "keypoints": flat()}]))


# OpenPose


def people(*counts: int) -> dict[str, Any]:
    return {
        "version": 1.3,
        "people": [{"pose_keypoints_2d": flat(count, visibility=0.8)} for count in counts],
    }


def test_openpose(write: Write) -> None:
    keypoints = read_keypoints(write(people(25, 25)), image_name="any.jpg", image_size=(640, 480))
    assert keypoints.set is BODY_25
    assert keypoints.xy.shape == (2, 25, 2)
    np.testing.assert_array_equal(keypoints.xy[1, 8], (18, 26))
    np.testing.assert_allclose(keypoints.confidence, 0.8, rtol=1e-6)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (people(14), "no known keypoint set has 14"),
        ({"people": {}}, "'people' must be a list"),
        ({"people": [{"pose_keypoints_3d": []}]}, "person 0: it has no pose_keypoints_2d"),
        ({"persons": []}, "unknown structure with 'persons'; expected COCO's"),
        ({}, "unknown structure with nothing"),
        ("text", "must be numbers"),
        (None, "must be numbers"),
    ],
)
def test_unfit_json(write: Write, document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_keypoints(write(document))


# Arrays, and files as such


def test_an_empty_list_is_zero_persons(write: Write) -> None:
    assert len(read_keypoints(write([]))) == 0


def test_arrays_in_json_and_npy(write: Write, tmp_path: Path) -> None:
    values = np.array(flat(17, visibility=1)).reshape(1, 17, 3)
    np.save(tmp_path / "array.npy", values)
    for path in (write(values.tolist()), tmp_path / "array.npy"):
        np.testing.assert_array_equal(read_keypoints(path).xy, values[..., :2])


def test_the_set_can_be_named(write: Write) -> None:
    path = write(people(17))
    assert read_keypoints(path, keypoint_set="coco_17").set is COCO_17
    with pytest.raises(ValueError, match=r"17 keypoints, but the keypoint set .body_25. has 25"):
        read_keypoints(path, keypoint_set="body_25")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "marked.JSON"
    path.write_text(json.dumps(people(25)), encoding="utf-8-sig")
    assert len(read_keypoints(path)) == 1


@settings(deadline=None)
@given(st.data())
def test_a_json_file_cut_anywhere_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = json.dumps(people(25))
    path = tmp_path_factory.mktemp("cut") / "cut.json"
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))], encoding="utf-8")
    with pytest.raises(ValueError, match=r"cut\.json: not JSON, damaged or cut short"):
        read_keypoints(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 200_000, b"{'people': []}"])
def test_what_is_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.json: not JSON"):
        read_keypoints(path)


@settings(deadline=None)
@given(st.data())
def test_an_npy_file_cut_anywhere_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.npy"
    np.save(path, np.ones((2, 17, 3)))
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"cut\.npy: damaged, cut short or not a plain array"):
        read_keypoints(path)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("the file was executed",)


def test_objects_in_npy_are_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npy"
    np.save(path, np.array([Hostile()]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"an array of .*object.*, expected plain numbers"):
        read_keypoints(path)


def test_an_npy_header_may_not_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "huge.npy"
    np.save(path, np.ones((1, 17, 3)))
    content = path.read_bytes().replace(b"(1, 17, 3), }      ", b"(999999999, 17, 3)}")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="but 408 bytes of content"):
        read_keypoints(path)


def test_other_arrays_in_npy(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.zeros(17, [("x", "f4"), ("y", "f4")]))
    with pytest.raises(ValueError, match="expected plain numbers"):
        read_keypoints(path)
    with path.open("wb") as file:
        np.savez(file, np.ones((17, 3)))
    with pytest.raises(ValueError, match=r"is a \.npz archive"):
        read_keypoints(path)


def test_places_that_are_no_keypoint_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json does not exist"):
        read_keypoints(tmp_path / "none.json")
    with pytest.raises(ValueError, match="is a folder; keypoint_file_for"):
        read_keypoints(tmp_path)
    (tmp_path / "table.csv").touch()
    with pytest.raises(ValueError, match=r"table\.csv must be one of \.json, \.npy"):
        read_keypoints(tmp_path / "table.csv")


def test_the_file_for_an_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no a\.b\.jpg\.json, a\.b\.json, .*a\.b\.npy$"):
        keypoint_file_for(tmp_path, "photos/a.b.jpg")
    for name in ("a.b.npy", "results_a.b.json", "a.b_keypoints.json", "a.b.json", "a.b.jpg.json"):
        (tmp_path / name).touch()
        assert keypoint_file_for(tmp_path, "photos/a.b.jpg") == tmp_path / name
    assert keypoint_file_for(tmp_path / "a.b.npy", "other.jpg") == tmp_path / "a.b.npy"
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        keypoint_file_for(tmp_path / "nowhere", "a.jpg")
