import pytest

from dualhmr.keypoints import (
    BODY_23,
    BODY_25,
    COCO_17,
    COCO_WHOLEBODY_133,
    HALPE_26,
    KEYPOINT_SETS,
    KeypointSet,
    keypoint_set,
    keypoint_set_for_count,
)

SETS = list(KEYPOINT_SETS.values())


@pytest.mark.parametrize("known", SETS, ids=lambda known: known.name)
def test_the_name_ends_with_the_count_and_the_count_finds_the_set(known: KeypointSet) -> None:
    assert known.name.endswith(f"_{len(known)}")
    assert keypoint_set_for_count(len(known)) is known
    assert [known.index(name) for name in known.names] == list(range(len(known)))


def test_names_are_text_and_may_be_a_list() -> None:
    made = KeypointSet("mine", ["nose", "neck"])  # type: ignore[arg-type]
    assert hash(made) == hash(KeypointSet("mine", ("nose", "neck")))
    names: list = ["nose neck", ("nose", 3), ("nose", ["neck"])]
    for wrong in names:
        with pytest.raises(TypeError, match=r"expected (text|a tuple)"):
            KeypointSet("mine", wrong)


def test_smaller_sets_begin_the_larger_ones() -> None:
    assert BODY_23.names[:17] == COCO_17.names == HALPE_26.names[:17]
    assert COCO_WHOLEBODY_133.names[:23] == BODY_23.names


def test_every_foot_set_names_the_same_feet() -> None:
    feet = set(BODY_23.names[17:])
    assert set(BODY_25.names[19:]) == feet == set(HALPE_26.names[20:])


def test_body_25_and_halpe_26_share_all_but_the_head_top() -> None:
    assert set(HALPE_26.names) - set(BODY_25.names) == {"head_top"}
    assert set(BODY_25.names) < set(HALPE_26.names)


# Golden rows from the releases' own documentation.
@pytest.mark.parametrize(
    ("known", "row", "name"),
    [
        (COCO_17, 5, "left_shoulder"),
        (COCO_17, 16, "right_ankle"),
        (BODY_25, 1, "neck"),
        (BODY_25, 4, "right_wrist"),
        (BODY_25, 8, "mid_hip"),
        (BODY_25, 15, "right_eye"),
        (BODY_25, 19, "left_big_toe"),
        (BODY_25, 24, "right_heel"),
        (HALPE_26, 17, "head_top"),
        (HALPE_26, 19, "mid_hip"),
        (HALPE_26, 21, "right_big_toe"),
        (HALPE_26, 24, "left_heel"),
        (COCO_WHOLEBODY_133, 19, "left_heel"),
        (COCO_WHOLEBODY_133, 23, "face_0"),
        (COCO_WHOLEBODY_133, 91, "left_hand_0"),
        (COCO_WHOLEBODY_133, 112, "right_hand_0"),
    ],
)
def test_documented_rows(known: KeypointSet, row: int, name: str) -> None:
    assert known.names[row] == name


@pytest.mark.parametrize("known", SETS, ids=lambda known: known.name)
def test_mirroring_twice_changes_nothing_and_swaps_sides(known: KeypointSet) -> None:
    flip = known.flip_permutation()
    assert [flip[row] for row in flip] == list(range(len(known)))
    for row, name in enumerate(known.names):
        if name.startswith("left_"):
            assert known.names[flip[row]] == "right_" + name.removeprefix("left_")


@pytest.mark.parametrize(
    ("point", "mirrored"), [(0, 16), (17, 26), (30, 30), (33, 33), (36, 45), (41, 46), (48, 54)]
)
def test_mirrored_face_points(point: int, mirrored: int) -> None:
    flip = COCO_WHOLEBODY_133.flip_permutation()
    assert flip[23 + point] == 23 + mirrored


@pytest.mark.parametrize("spelling", ["coco_17", "coco17", "COCO-17", "Coco 17"])
def test_spellings(spelling: str) -> None:
    assert keypoint_set(spelling) is COCO_17


def test_a_set_of_ones_own_is_returned_as_it_is() -> None:
    own = KeypointSet("two", ("neck", "nose"))
    assert keypoint_set(own) is own


def test_unknown_names_and_counts_say_what_is_known() -> None:
    with pytest.raises(ValueError, match="'openpose'; known sets are coco_17, body_23"):
        keypoint_set("openpose")
    with pytest.raises(TypeError, match="not int"):
        keypoint_set(17)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"has 18 keypoints.*25 \(body_25\).*Pass keypoint_set"):
        keypoint_set_for_count(18)
    with pytest.raises(ValueError, match="'coco_17' has no 'neck'; it has nose"):
        COCO_17.index("neck")


def test_names_must_be_distinct_and_present() -> None:
    with pytest.raises(ValueError, match="each of them once"):
        KeypointSet("twice", ("nose", "nose"))
    with pytest.raises(ValueError, match="needs names"):
        KeypointSet("none", ())


def test_a_one_sided_set_has_no_mirror() -> None:
    with pytest.raises(ValueError, match="no 'right_knee'"):
        KeypointSet("half", ("left_knee",)).flip_permutation()
