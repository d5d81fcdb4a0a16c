from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.spin_files import everything, read, write
from numpy.typing import NDArray

from dualhmr_training.data.annotations import read_annotations


def without(*names: str) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in everything().items() if name not in names}


def test_everything_that_is_given_is_read(tmp_path: Path) -> None:
    arrays = everything(count=4)
    known = read(tmp_path / "all.npz", arrays)
    assert len(known) == 4
    assert known.image_names.tolist() == arrays["imgname"].tolist()
    np.testing.assert_array_equal(known.box_center, arrays["center"])
    np.testing.assert_array_equal(known.box_height, arrays["scale"] * 200)
    both = np.concatenate([arrays["openpose"], arrays["part"]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(known.keypoints, both[..., :2])
    np.testing.assert_array_equal(known.confidence, both[..., 2])
    np.testing.assert_array_equal(known.joints_3d, arrays["S"][..., :3].astype(np.float32))
    np.testing.assert_array_equal(known.joints_3d_confidence, arrays["S"][..., 3].astype("f4"))
    np.testing.assert_array_equal(known.rotvecs.reshape(4, 72), arrays["pose"].astype(np.float32))
    np.testing.assert_array_equal(known.betas, arrays["shape"].astype(np.float32))
    assert known.has_mesh.tolist() == [True] * 4
    assert known.genders is not None
    assert known.genders.tolist() == ["m", "f", "m", "f"]
    assert known.focal_length is not None
    np.testing.assert_array_equal(known.focal_length, arrays["focal_length"])


@pytest.mark.parametrize(
    "missing",
    ["part", "openpose", "pose", "shape", "has_smpl", "S", "gender", "focal_length"],
)
def test_what_is_missing_is_masked_and_the_rest_is_there(tmp_path: Path, missing: str) -> None:
    known = read(tmp_path / "some.npz", without(missing))
    assert (known.confidence[:, :25] > 0).all() == (missing != "openpose")
    assert known.confidence[:, :25].any() == (missing != "openpose")
    assert (known.confidence[:, 25:] > 0).all() == (missing != "part")
    assert known.confidence[:, 25:].any() == (missing != "part")
    assert known.joints_3d_confidence.any() == (missing != "S")
    assert known.has_mesh.tolist() == [missing not in ("pose", "shape")] * 3
    assert (known.genders is None) == (missing == "gender")
    assert (known.focal_length is None) == (missing == "focal_length")


def test_three_arrays_are_enough(tmp_path: Path) -> None:
    arrays = everything()
    known = read(tmp_path / "few.npz", {n: arrays[n] for n in ("imgname", "center", "scale")})
    assert len(known) == 3
    assert not known.confidence.any()
    assert not known.joints_3d_confidence.any()
    assert not known.has_mesh.any()


def test_masks_are_a_persons_own_and_what_they_hide_is_zero(tmp_path: Path) -> None:
    arrays = everything()
    arrays["has_smpl"] = np.array([1, 0, 1])
    arrays["pose"][1] = np.nan
    arrays["part"][0, 3] = np.nan, np.inf, 0
    arrays["S"][2, 5] = 7, 7, 7, 0
    known = read(tmp_path / "masks.npz", arrays)
    assert known.has_mesh.tolist() == [True, False, True]
    assert not known.rotvecs[1].any()
    assert not known.betas[1].any()
    assert known.confidence[0, 25 + 3] == 0
    assert not known.keypoints[0, 25 + 3].any()
    assert (known.confidence == 0).sum() == 1
    assert known.joints_3d_confidence[2, 5] == 0
    assert not known.joints_3d[2, 5].any()


def test_text_may_be_bytes(tmp_path: Path) -> None:
    arrays = everything()
    arrays["imgname"] = np.array([b"images/a.png", b"images/bb.png", "images/\u00e4.png".encode()])
    arrays["gender"] = np.array([b"f", b"m", b"f"])
    known = read(tmp_path / "bytes.npz", arrays)
    assert known.image_names.tolist() == ["images/a.png", "images/bb.png", "images/\u00e4.png"]
    assert known.genders is not None
    assert known.genders.tolist() == ["f", "m", "f"]


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.bool_, np.float16])
def test_a_flag_may_be_of_any_kind(tmp_path: Path, kind: type) -> None:
    arrays = everything() | {"has_smpl": np.array([1, 0, 1]).astype(kind)}
    assert read(tmp_path / "flags.npz", arrays).has_mesh.tolist() == [True, False, True]


def test_confidence_is_clipped(tmp_path: Path) -> None:
    arrays = everything()
    arrays["openpose"][0, :2, 2] = 1.02, -1
    known = read(tmp_path / "clipped.npz", arrays)
    assert known.confidence[0, :2].tolist() == [1, 0]


def test_other_arrays_are_left_alone(tmp_path: Path) -> None:
    arrays = everything() | {"extra": np.array([{"an": "object"}], dtype=object)}
    assert len(read(tmp_path / "more.npz", arrays)) == 3


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("center", np.ones((3, 3)), r"center has shape \(3, 3\), expected \(3, 2\)"),
        ("scale", np.ones(4), r"scale has shape \(4,\), expected \(3,\)"),
        ("part", np.ones((3, 24, 2)), r"part has shape \(3, 24, 2\), expected \(3, 24, 3\)"),
        ("openpose", np.ones((3, 24, 3)), r"openpose has shape .*, expected \(3, 25, 3\)"),
        ("pose", np.ones((3, 24, 3)), r"pose has shape \(3, 24, 3\), expected \(3, 72\)"),
        ("shape", np.ones((2, 10)), r"shape has shape \(2, 10\), expected \(3, 10\)"),
        ("S", np.ones((3, 24, 3)), r"S has shape \(3, 24, 3\), expected \(3, 24, 4\)"),
        ("scale", np.array(["a"] * 3), "scale holds <U1, expected real numbers"),
        ("imgname", np.ones(3), "imgname holds float64, expected text"),
        ("imgname", np.array([["a", "b", "c"]]), r"imgname has shape \(1, 3\), expected \(3,\)"),
        ("imgname", np.array([], dtype="U3"), "imgname lists no images"),
        ("gender", np.array(["m", "x", "f"]), "gender of person 1 is neither 'm' nor 'f'"),
        ("gender", np.array(["m"]), r"gender has shape \(1,\), expected \(3,\)"),
        ("scale", np.array([1, 0, 2]), r"scale of person 1 is not above zero \(1 of 3 such\)"),
        ("scale", np.array([1, 1, np.inf]), "scale of person 2 is not finite"),
        ("center", np.full((3, 2), np.nan), "center of person 0 is not finite .3 of 3"),
        ("focal_length", np.array([500, -1, 500]), "focal_length of person 1 is not above zero"),
        ("has_smpl", np.array([1, np.nan, 1]), "has_smpl of person 1 is not finite"),
        ("part", np.full((3, 24, 3), np.nan), "the confidence in part of person 0 is NaN"),
        ("S", np.full((3, 24, 4), np.inf), "S of person 0 is not finite"),
        ("pose", np.full((3, 72), np.nan), "pose of person 0 is not finite"),
    ],
)
def test_wrong_arrays_are_named(
    tmp_path: Path, name: str, array: NDArray[Any], message: str
) -> None:
    path = write(tmp_path / "wrong.npz", everything() | {name: array})
    with pytest.raises(ValueError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["imgname", "center", "scale"])
def test_what_is_needed_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "lacking.npz", without(name))
    with pytest.raises(ValueError, match=f"lacking.npz: not annotations .* lacks {name}"):
        read_annotations(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    names = np.array(["a.png", "b.png", "c.png"], dtype=object)
    path = write(tmp_path / "objects.npz", everything() | {"imgname": names})
    with pytest.raises(ValueError, match=r"objects.npz: damaged, cut short or not an .npz"):
        read_annotations(path)


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_damaged_files_are_named(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "damaged.npz", everything())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"damaged.npz: damaged, cut short"):
        read_annotations(path)


def test_damage_inside_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "flipped.npz", everything())
    data = bytearray(path.read_bytes())
    data[3000:3100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"flipped.npz"):
        read_annotations(path)


def test_a_single_array_is_no_annotations(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"array.npy: damaged, cut short or not an .npz"):
        read_annotations(tmp_path / "array.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.npz"):
        read_annotations(tmp_path / "none.npz")
