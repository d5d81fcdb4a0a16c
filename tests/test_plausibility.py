"""What can be true of a person in a photograph, before and after adaptation."""

import numpy as np
import pytest
from helpers.standing_person import standing_person
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dualhmr.body.arrays import body_keypoints
from dualhmr.body.files import read_body
from dualhmr.keypoints import (
    BODY_25,
    COCO_17,
    COCO_WHOLEBODY_133,
    HALPE_26,
    Keypoints,
    KeypointSet,
)
from dualhmr.plausibility import (
    PlausibleKeypoints,
    check_keypoint_names,
    plausible_keypoints,
)
from dualhmr.recoverer.collecting import body_warnings

IMAGE_SIZE = (512, 512)
BODY = read_body()
KNOWN = body_keypoints(BODY)
WRIST = COCO_17.index("left_wrist")
ALL_SETS = pytest.mark.parametrize(
    "names", [COCO_17, BODY_25, HALPE_26, COCO_WHOLEBODY_133], ids=lambda names: names.name
)


def checked(
    xy: NDArray[np.float32],
    *,
    missing: tuple[int, ...] | range = (),
    names: KeypointSet = COCO_17,
    size: tuple[int, int] = IMAGE_SIZE,
) -> PlausibleKeypoints:
    """Of one person."""
    confidence = np.ones((1, len(names)), np.float32)
    confidence[0, list(missing)] = 0
    return plausible_keypoints(Keypoints(names, xy[None].copy(), confidence), size, KNOWN)


def reason(result: PlausibleKeypoints) -> str:
    assert result.persons == []
    assert not result.warnings
    (skipped,) = result.skipped
    return skipped.reason


def kinds(result: PlausibleKeypoints) -> list[str]:
    assert result.persons == [0]
    assert not result.skipped
    return [warning.kind for warning in result.warnings]


# Enough keypoints


@ALL_SETS
def test_a_whole_person_is_fine(names: KeypointSet) -> None:
    result = checked(standing_person(names), names=names)
    assert kinds(result) == []
    has = np.isin(names.names, list(KNOWN))
    np.testing.assert_array_equal(result.of_body.confidence[0], has)
    np.testing.assert_array_equal(result.keypoints.confidence[0], 1)


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 16), min_size=6))
def test_any_six_keypoints_are_enough(rows: set[int]) -> None:
    assert kinds(checked(standing_person(), missing=tuple({*range(17)} - rows))) == []


@pytest.mark.parametrize(("left", "text"), [(5, "5 keypoints"), (1, "1 keypoint "), (0, "0 ")])
def test_too_few_keypoints(left: int, text: str) -> None:
    said = reason(checked(standing_person(), missing=range(17 - left)))
    assert said.startswith(text)
    assert "at least 6 are needed" in said


@pytest.mark.parametrize("part", ["face_", "left_hand_"])
def test_points_that_the_body_does_not_have_count_for_nothing(part: str) -> None:
    names = COCO_WHOLEBODY_133
    absent = [row for row, name in enumerate(names.names) if not name.startswith(part)]
    said = reason(checked(standing_person(names), missing=tuple(absent), names=names))
    assert said.startswith("0 keypoints")
    assert f"{len(names) - len(absent)} more are points that the body does not have" in said


def test_missing_keypoints_may_be_anywhere() -> None:
    xy = standing_person()
    xy[:5] = 1e6
    assert kinds(checked(xy, missing=range(5))) == []


@pytest.mark.parametrize("xy", [np.full((17, 2), 200, np.float32), standing_person() / 640])
def test_keypoints_on_one_point_or_in_fractions(xy: NDArray[np.float32]) -> None:
    assert "fractions" in reason(checked(xy))


def test_a_person_lying_flat_is_fine() -> None:
    xy = standing_person()
    xy[:, 1] = 100
    assert kinds(checked(xy)) == []


# Inside of the image


@pytest.mark.parametrize("shift", [(-400, 0), (400, 0), (0, -500), (0, 500), (5000, 0), (1e25, 0)])
def test_a_person_outside_of_the_image(shift: tuple[float, float]) -> None:
    said = reason(checked(standing_person() + np.array(shift, np.float32)))
    assert "completely outside of the 512x512 image" in said


@pytest.mark.parametrize("shift", [(-190, 0), (190, 0), (0, 80), (0, -80)])
def test_a_person_at_the_edge_is_kept(shift: tuple[int, int]) -> None:
    assert "dropped_keypoints" not in kinds(checked(standing_person() + np.float32(shift)))


def test_keypoints_of_a_larger_version_of_the_photograph() -> None:
    xy = 2 * standing_person(middle=(300, 240))
    assert "of a larger or a turned version of it?" in reason(checked(xy))


def test_keypoints_of_a_turned_photograph() -> None:
    """Upright, the person was in the lower part of 480x640; as stored, the photo is 640x480."""
    low = standing_person(middle=(240, 450), height=350)
    assert kinds(checked(low, size=(480, 640))) == []
    assert kinds(checked(low, size=(640, 480))) == ["outside_image"]
    lower = standing_person(middle=(240, 520), height=220)
    assert "turned version" in reason(checked(lower, size=(640, 480)))


# Consistent with each other


@ALL_SETS
@pytest.mark.parametrize("offset", [(1000, 0), (0, -1000), (-700, 300), (1e6, 0), (0, 1e25)])
def test_one_outlier_is_dropped_with_a_warning(
    names: KeypointSet, offset: tuple[float, float]
) -> None:
    """The rest of the person is as if it had been missing."""
    xy = standing_person(names, height=200)
    wrist = names.index("left_wrist")
    xy[wrist] += np.array(offset, np.float32)
    result = checked(xy, names=names)
    assert kinds(result) == ["dropped_keypoints"]
    assert "left_wrist at (" in result.warnings[0].message
    without = checked(xy, missing=(wrist,), names=names)
    np.testing.assert_array_equal(result.of_body.confidence, without.of_body.confidence)
    np.testing.assert_array_equal(result.keypoints.confidence, without.keypoints.confidence)


@pytest.mark.parametrize("names", [BODY_25, HALPE_26], ids=lambda names: names.name)
def test_feet_on_the_face_are_dropped(names: KeypointSet) -> None:
    """As detectors fill unknown rows: in everybody's reach, but not on their own leg."""
    xy = standing_person(names, height=300)
    feet = [row for row, name in enumerate(names.names) if name.endswith(("toe", "heel"))]
    xy[feet] = xy[names.index("nose")]
    result = checked(xy, names=names)
    assert kinds(result) == ["dropped_keypoints"]
    assert not result.of_body.confidence[0, feet].any()
    others = [row for row, name in enumerate(names.names) if name in KNOWN and row not in feet]
    assert result.of_body.confidence[0, others].all()


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 16), max_size=3), st.integers(0, 2**32 - 1))
def test_up_to_three_of_seventeen_outliers_are_found(rows: set[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy = standing_person(height=100)
    angle = rng.uniform(0, 2 * np.pi, len(rows))
    xy[list(rows)] = 256 + 2000 * np.stack([np.cos(angle), np.sin(angle)], -1)
    result = checked(xy)
    assert kinds(result) == ["dropped_keypoints"] * bool(rows)
    assert set(np.flatnonzero(result.of_body.confidence[0] == 0)) == rows


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0.05, 20),
    st.floats(0, 2 * np.pi),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
)
def test_the_decision_does_not_depend_on_size_turn_and_place(
    scale: float, turn: float, place: tuple[float, float]
) -> None:
    """A turn by any angle, as bodies may lie; the image is large enough for all."""
    cosine, sine = np.cos(turn), np.sin(turn)
    xy = standing_person(height=100)
    xy[WRIST] += (250, 0)
    moved = (xy @ np.array([[cosine, sine], [-sine, cosine]])) * scale + place
    result = checked(moved.astype(np.float32) + np.float32(10_000), size=(20_000, 20_000))
    assert kinds(result) == ["dropped_keypoints"]
    assert np.flatnonzero(result.of_body.confidence[0] == 0).tolist() == [WRIST]


def test_persons_are_judged_alone() -> None:
    good, bad = standing_person(), np.full((17, 2), 200, np.float32)
    outlier = good.copy()
    outlier[WRIST] += 1000
    people = Keypoints(COCO_17, np.stack([bad, good, outlier]), np.ones((3, 17), np.float32))
    result = plausible_keypoints(people, IMAGE_SIZE, KNOWN)
    assert result.persons == [1, 2]
    assert [skipped.person for skipped in result.skipped] == [0]
    assert [warning.person for warning in result.warnings] == [2]
    np.testing.assert_array_equal(result.of_body.confidence[1], 1)


def test_nothing_of_the_user_is_changed() -> None:
    xy = standing_person()
    xy[WRIST] += 1000
    people = Keypoints(COCO_17, xy[None], np.ones((1, 17), np.float32))
    plausible_keypoints(people, IMAGE_SIZE, KNOWN)
    assert people.confidence.min() == 1


def test_zero_persons() -> None:
    nobody = Keypoints(COCO_17, np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32))
    result = plausible_keypoints(nobody, IMAGE_SIZE, KNOWN)
    assert (result.persons, result.skipped, result.warnings) == ([], [], [])


# Names


def test_unknown_names_are_listed_with_the_nearest_known_ones() -> None:
    names = KeypointSet("mine", ("nose", "l_wrist", "left_wirst", "zzz"))
    with pytest.raises(ValueError, match=r"'mine'.*'left_wirst' \('left_wrist'\?\), 'zzz'; the"):
        check_keypoint_names(names, KNOWN)


@ALL_SETS
def test_names_of_known_sets_are_fine(names: KeypointSet) -> None:
    check_keypoint_names(names, KNOWN)


# After adaptation


def warned(
    *,
    depth: float = 3.0,
    size: float = 1.0,
    reprojection_px: tuple[float, float] = (20.0, 5.0),
) -> list[str]:
    """Kinds of warnings for the free body upright, nearest at `depth`, `size` times as large."""
    vertices = size * BODY.v_template
    vertices = vertices - [0, 0, vertices[:, 2].min() - depth]
    # The free body's shape scales with no single beta: the template stands for it.
    body = type(BODY)(**vars(BODY) | {"v_template": size * BODY.v_template})
    found = body_warnings(
        7,
        vertices=vertices.astype(np.float32),
        body=body,
        betas=np.zeros(BODY.beta_count, np.float32),
        reprojection_px=reprojection_px,
        box_height=200.0,
    )
    return [warning.kind for warning in found if warning.person == 7]


def test_a_usual_body_has_no_warning() -> None:
    assert warned() == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"depth": -0.5}, "behind_camera"),
        ({"depth": 0.0}, "behind_camera"),
        ({"depth": 0.005}, "too_near"),
        ({"size": 0.1}, "body_size"),
        ({"size": 2.0}, "body_size"),
        ({"reprojection_px": (50.0, 25.0)}, "poor_fit"),
        ({"reprojection_px": (10.0, 15.0)}, "worse_than_start"),
    ],
)
def test_what_cannot_be_right_about_a_body(changes: dict, kind: str) -> None:
    assert warned(**changes) == [kind]


def test_persons_that_a_file_could_not_give_are_skipped_with_its_reason() -> None:
    nobody = Keypoints(
        COCO_17,
        np.zeros((2, 17, 2), np.float32),
        np.zeros((2, 17), np.float32),
        problems={1: "its annotation is no object"},
    )
    skipped = plausible_keypoints(nobody, IMAGE_SIZE, KNOWN).skipped
    assert skipped[0].reason.startswith("0 keypoints with confidence")
    assert skipped[1] == (1, "its annotation is no object")
