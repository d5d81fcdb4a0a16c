"""Inputs that would give a wrong body: each is dropped, skipped, warned of or refused, and said."""

import copy
import multiprocessing
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.sanity import insane
from helpers.standing_person import standing_person
from numpy.typing import NDArray

from dualhmr import EngineOptions, Recoverer, Recovery, load_body
from dualhmr.adaptation.schedule import NonFiniteError
from dualhmr.keypoints import COCO_17, COCO_WHOLEBODY_133, Keypoints, KeypointSet
from dualhmr.person import AdaptedPerson

Photo = NDArray[np.uint8]
WRIST = COCO_17.index("right_wrist")
BACKGROUND = np.full((512, 512, 3), 120, np.uint8)


def person_of(
    xy: NDArray[np.float32], confidence: Any = 1.0, names: KeypointSet = COCO_17
) -> Keypoints:
    """One person, or several."""
    xy = xy.reshape(-1, len(names), 2)
    shape = xy.shape[:2]
    return Keypoints(names, xy, np.broadcast_to(np.float32(confidence), shape).copy())


def recover_quietly(
    recoverer: Recoverer, keypoints: Any, photo: Photo = BACKGROUND, **options: Any
) -> Recovery:
    """A sane recovery, during which nothing is warned of through Python's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recovery = recoverer.recover(photo, keypoints, **{"max_steps": 2, **options})
    assert insane(recovery) == []
    return recovery


def kinds(recovery: Recovery) -> list[tuple[int, str]]:
    return [(warning.person, warning.kind) for warning in recovery.warnings]


# Points that the body has


@pytest.mark.parametrize("parts", [("left_hand_", "right_hand_"), ("face_",)])
def test_hands_or_faces_alone_are_nobody(recoverer: Recoverer, parts: tuple[str, ...]) -> None:
    names = COCO_WHOLEBODY_133
    confidence = [float(name.startswith(parts)) for name in names.names]
    recovery = recover_quietly(recoverer, person_of(standing_person(names), confidence, names))
    assert len(recovery) == 0
    assert "0 keypoints with confidence" in recovery.skipped[0].reason
    assert "points that the body does not have" in recovery.skipped[0].reason


def test_the_box_is_of_the_bodys_points(recoverer: Recoverer) -> None:
    """Fingers far away change nothing, and stay in what is returned as the user's."""
    names = COCO_WHOLEBODY_133
    xy = standing_person(names)
    hands = ["hand" in name for name in names.names]
    without = recover_quietly(recoverer, person_of(xy, ~np.array(hands), names))
    xy[hands] = (500, 20)
    recovery = recover_quietly(recoverer, person_of(xy, 1, names))
    np.testing.assert_array_equal(recovery.vertices, without.vertices)
    np.testing.assert_array_equal(recovery.reprojection_px, without.reprojection_px)
    assert recovery.keypoints.confidence.min() == 1
    assert np.isnan(recovery.keypoints_2d[0, hands]).all()


def test_unknown_names(recoverer: Recoverer) -> None:
    names = KeypointSet("mine", (*COCO_17.names[1:], "nase"))
    with pytest.raises(ValueError, match=r"'mine' .*'nase' \('nose'\?\); the body has"):
        recover_quietly(recoverer, person_of(standing_person(), 1, names))
    endless = KeypointSet("endless", tuple(f"point {number}" for number in range(5000)))
    with pytest.raises(ValueError, match="and 4988 more") as raised:
        recover_quietly(recoverer, person_of(np.ones((5000, 2), np.float32), 1, endless))
    assert len(str(raised.value)) < 2000


# Scores


@pytest.mark.parametrize("best", [6.0, 100.0, 255.0])
def test_scores_on_another_scale(recoverer: Recoverer, best: float) -> None:
    scores = np.linspace(0.4, 1, 17)
    with pytest.raises(ValueError, match=r"confidences reach .*score_scale"):
        recover_quietly(recoverer, standing_person(), scores=best * scores)
    scaled = recover_quietly(recoverer, standing_person(), scores=best * scores, score_scale=best)
    plain = recover_quietly(recoverer, standing_person(), scores=scores)
    np.testing.assert_allclose(scaled.vertices, plain.vertices, atol=1e-5)


@pytest.mark.parametrize("scores", [np.full(17, 1.2), np.arange(17) % 2 + 1, np.full(17, 2)])
def test_scores_slightly_above_one_and_flags_stay(recoverer: Recoverer, scores: Any) -> None:
    recovery = recover_quietly(recoverer, standing_person(), scores=scores)
    np.testing.assert_array_equal(recovery.keypoints.confidence, 1)


# Impossible places


@pytest.mark.parametrize("place", [(1256.0, 250.0), (256.0, -900.0), (1e25, 0.0), (-3e38, 3e38)])
def test_an_outlier_is_dropped_and_said(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, place: tuple[float, float]
) -> None:
    spoilt, without = keypoints.xy.copy(), keypoints.confidence.copy()
    spoilt[0, WRIST] = place
    without[0, WRIST] = 0
    recovery = recover_quietly(
        recoverer, Keypoints(COCO_17, spoilt, keypoints.confidence), photo, max_steps=None
    )
    assert kinds(recovery) == [(0, "dropped_keypoints")]
    assert "right_wrist at" in recovery.warnings[0].message
    expected = recover_quietly(
        recoverer, Keypoints(COCO_17, keypoints.xy, without), photo, max_steps=None
    )
    np.testing.assert_array_equal(recovery.vertices, expected.vertices)
    np.testing.assert_array_equal(recovery.keypoints.confidence, without)


def test_missing_points_may_be_anywhere(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    far = keypoints.xy.copy()
    far[keypoints.confidence == 0] = 3e38
    recovery = recover_quietly(recoverer, Keypoints(COCO_17, far, keypoints.confidence), photo)
    expected = recover_quietly(recoverer, keypoints, photo)
    np.testing.assert_array_equal(recovery.vertices, expected.vertices)


@pytest.mark.parametrize(
    "xy",
    [
        standing_person() * np.float32(1e25),
        standing_person(height=1e6),
        standing_person(middle=(300, 240)) * 2,
        standing_person() / 512,
        np.random.default_rng(0).uniform(-2e3, 2e3, (17, 2)).astype(np.float32),
    ],
    ids=["1e25", "box of 1e6 px", "of a larger photograph", "fractions", "noise"],
)
def test_persons_that_cannot_be_are_skipped(recoverer: Recoverer, xy: NDArray[np.float32]) -> None:
    recovery = recover_quietly(recoverer, person_of(xy))
    assert len(recovery) == 0
    assert recovery.skipped[0].reason
    assert len(recovery.skipped[0].reason) < 300


def test_noise_inside_of_the_photograph_is_skipped_or_warned_of(recoverer: Recoverer) -> None:
    rng = np.random.default_rng(1)
    for _ in range(8):
        noise = person_of(rng.uniform(0, 511, (17, 2)).astype(np.float32))
        recovery = recover_quietly(recoverer, noise, max_steps=None)
        assert recovery.skipped or kinds(recovery)


def test_points_of_a_turned_photograph(recoverer: Recoverer) -> None:
    """Annotated on 480x640; as stored it is 640x480."""
    photo = np.full((480, 640, 3), 120, np.uint8)
    for middle, height in [((240, 450), 350), ((240, 520), 220), ((240, 400), 500)]:
        xy = standing_person(middle=middle, height=height)
        recovery = recover_quietly(recoverer, person_of(xy), photo)
        assert recovery.skipped or (0, "outside_image") in kinds(recovery)


@pytest.mark.parametrize("focal_length", [26, 50.0, 1e-9, 1e9])
def test_focal_lengths_in_millimetres(recoverer: Recoverer, focal_length: float) -> None:
    photo = np.full((480, 640, 3), 120, np.uint8)
    with pytest.raises(ValueError, match=r"expected 128 to 64000 .*pixels, not millimetres"):
        recover_quietly(recoverer, standing_person(), photo, focal_length=focal_length)


def test_a_broken_person_changes_nothing_for_another(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    rng = np.random.default_rng(2)
    broken = [
        np.full((17, 2), 200), rng.uniform(-1e4, 1e4, (17, 2)), np.full((17, 2), 1e25)
    ]  # fmt: skip
    xy = np.stack([broken[0], keypoints.xy[0], *broken[1:]]).astype(np.float32)
    crowd = Keypoints(COCO_17, xy, np.ones((4, 17), np.float32))
    crowd.confidence[1] = keypoints.confidence[0]
    recovery = recover_quietly(recoverer, crowd, photo)
    alone = recover_quietly(recoverer, keypoints, photo)
    assert recovery.persons.tolist() == [1]
    assert [skipped.person for skipped in recovery.skipped] == [0, 2, 3]
    for name in ("vertices", "keypoints_2d", "reprojection_px", "translation", "betas"):
        np.testing.assert_array_equal(getattr(recovery, name), getattr(alone, name))


@pytest.mark.parametrize("broken", ["infinite", "raises"])
def test_a_body_that_is_not_finite_is_a_skipped_person(
    keypoints: Keypoints, photo: Photo, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    recoverer = Recoverer(options=EngineOptions(threads=1))  # persons one after the other
    adapt = recoverer._pipeline.fitter.adapt
    calls = []

    def damaged(*arguments: Any) -> AdaptedPerson:
        calls.append(arguments)
        if len(calls) > 1:
            return adapt(*arguments)
        if broken == "raises":
            raise NonFiniteError("the loss is nan")
        body = adapt(*arguments)
        return body._replace(keypoints_2d=np.full_like(body.keypoints_2d, np.inf))

    monkeypatch.setattr(recoverer._pipeline.fitter, "adapt", damaged)
    pair = Keypoints(
        COCO_17, np.repeat(keypoints.xy, 2, axis=0), np.repeat(keypoints.confidence, 2, axis=0)
    )
    recovery = recover_quietly(recoverer, pair, photo)
    assert recovery.persons.tolist() == [1]
    assert [skipped.person for skipped in recovery.skipped] == [0]


# Arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": True}, "max_steps is True, expected a number of steps"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
        ({"max_steps": "3"}, "max_steps is '3'"),
        ({"focal_length": True}, "focal_length is True, expected a number of pixels"),
        ({"focal_length": "800"}, "focal_length is '800'"),
        ({"principal_point": (True, 2.0)}, "principal_point is True"),
        ({"schedule": 3}, "schedule is 3 of type int, expected a schedule's name or a Schedule"),
        ({"keypoint_set": 3}, "not int"),
        ({"min_confidence": "low"}, "min_confidence is 'low', expected a number"),
        ({"score_scale": True}, "score_scale is True"),
    ],
)
def test_arguments_of_other_types(recoverer: Recoverer, options: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        recoverer.recover(BACKGROUND, standing_person(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"body": 5}, "body is 5 of type int, expected a body file or a body that load_body"),
        ({"options": {}}, "options is {} of type dict, expected EngineOptions"),
        ({"bundle": 3}, "bundle is 3 of type int, expected a folder or a Bundle"),
        ({"body": list(range(100_000))}, "of type list"),
    ],
)
def test_recoverers_of_other_types(options: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        Recoverer(**options)
    assert len(str(raised.value)) < 300


def test_more_steps_than_anybody_needs(recoverer: Recoverer) -> None:
    with pytest.raises(ValueError, match="expected at most 100000"):
        recoverer.recover(BACKGROUND, standing_person(), max_steps=10**30)


def test_masked_pixels_are_refused(recoverer: Recoverer) -> None:
    masked = np.ma.array(BACKGROUND, mask=BACKGROUND > 500)
    recovery = recoverer.recover(masked, standing_person(), max_steps=0)
    masked.mask[3, 4] = True
    with pytest.raises(ValueError, match=r"masked pixels; image\.filled"):
        recoverer.recover(masked, standing_person(), max_steps=0)
    filled = recoverer.recover(masked.filled(120), standing_person(), max_steps=0)
    np.testing.assert_array_equal(filled.vertices, recovery.vertices)


def test_numbers_of_numpy_are_numbers(recoverer: Recoverer) -> None:
    recovery = recover_quietly(
        recoverer,
        standing_person(),
        max_steps=np.int64(1),
        focal_length=np.float32(700),
        principal_point=np.array([256, 256]),
    )
    assert recovery.steps.tolist() == [1]


def test_masked_keypoints_and_scores_are_missing(recoverer: Recoverer) -> None:
    xy = standing_person()
    garbage = xy.copy()
    garbage[[3, 4]] = 77
    mask = np.zeros((17, 2), bool)
    mask[3], mask[4, 1] = True, True
    masked = np.ma.array(garbage, mask=mask)
    expected = np.ones((1, 17))
    expected[0, [3, 4]] = 0
    plain = recover_quietly(recoverer, person_of(xy, expected[0]))
    scores = np.ma.array(np.ones(17), mask=mask.any(1))
    for keypoints, options in [
        (masked, {}),
        ([masked], {}),
        (np.ma.array([masked]), {}),
        (garbage, {"scores": scores}),
    ]:
        recovery = recover_quietly(recoverer, keypoints, **options)
        np.testing.assert_array_equal(recovery.keypoints.confidence, expected)
        np.testing.assert_array_equal(recovery.vertices, plain.vertices)


# Zero persons


@pytest.fixture(scope="module")
def empty(recoverer: Recoverer) -> Recovery:
    return recoverer.recover(BACKGROUND, np.zeros((0, 17, 3)))


@pytest.mark.parametrize("nobody", [[], np.zeros((0, 17, 2)), np.zeros((0, 3)), np.zeros(0)])
def test_zero_persons_are_a_result(recoverer: Recoverer, nobody: Any) -> None:
    recovery = recover_quietly(recoverer, nobody)
    assert len(recovery) == 0
    assert recovery.skipped == recovery.warnings == ()
    assert recovery.vertices.shape == (0, len(recoverer.body.v_template), 3)


def test_an_empty_recovery_does_all_that_others_do(empty: Recovery, tmp_path: Path) -> None:
    assert list(empty) == []
    assert "0 persons" in repr(empty)
    with pytest.raises(IndexError):
        empty[0]
    np.testing.assert_array_equal(empty.overlay(BACKGROUND)[:512, :512], BACKGROUND)
    for suffix in (".npz", ".glb", ".obj", ".ply"):
        empty.save(tmp_path / f"empty{suffix}")
    with np.load(tmp_path / "empty.npz", allow_pickle=False) as saved:
        assert saved["vertices"].shape == empty.vertices.shape
        assert saved["persons"].shape == (0,)
    for again in (pickle.loads(pickle.dumps(empty)), copy.deepcopy(empty), copy.copy(empty)):
        assert len(again) == 0


def test_keypoints_of_zero_persons_that_contradict_themselves(recoverer: Recoverer) -> None:
    with pytest.raises(ValueError, match="persons without keypoints"):
        recoverer.recover(BACKGROUND, np.zeros((17, 0)))
    with pytest.raises(ValueError, match="zero persons"):
        recoverer.recover(BACKGROUND, [], scores=np.ones(17))


# Pickles and copies


@pytest.fixture(scope="module")
def pair(recoverer: Recoverer) -> Recovery:
    xy = np.stack([standing_person(height=300), standing_person(middle=(200, 240), height=310)])
    return recoverer.recover(BACKGROUND, person_of(xy), max_steps=None)


def assert_equal(one: Recovery, other: Recovery) -> None:
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(other, name), value)
    assert one.loss_history == other.loss_history
    assert one.skipped == other.skipped
    np.testing.assert_array_equal(one.step_vertices(1), other.step_vertices(1))
    np.testing.assert_array_equal(one.step_strip(BACKGROUND), other.step_strip(BACKGROUND))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_small_and_whole(pair: Recovery, protocol: int) -> None:
    pickled = pickle.dumps(pair, protocol)
    assert len(pickled) < 2 * 1_000_000
    assert len(pickle.dumps(pair[0], protocol)) < 1_000_000
    assert_equal(pickle.loads(pickled), pair)


def test_copies_are_whole_and_share_the_body(pair: Recovery) -> None:
    deep, shallow = copy.deepcopy(pair), copy.copy(pair)
    assert_equal(deep, pair)
    assert deep.body is shallow.body is pair.body
    assert shallow.vertices is pair.vertices
    assert not np.shares_memory(deep.vertices, pair.vertices)


def test_another_body_is_not_taken_for_the_free_one(photo: Photo, keypoints: Keypoints) -> None:
    changed = load_body().arrays()
    changed.v_template[:] *= np.float32(1.01)
    recovery = Recoverer(body=changed).recover(photo, keypoints, max_steps=1)
    again = pickle.loads(pickle.dumps(recovery))
    np.testing.assert_array_equal(again.vertices, recovery.vertices)
    with pytest.raises(ValueError, match="unpickled without its body"):
        again.step_strip(photo)
    assert copy.deepcopy(recovery).step_strip(photo).any()


def test_a_recoverer_works_in_a_spawned_worker(photo: Photo, keypoints: Keypoints) -> None:
    recoverer = Recoverer(options=EngineOptions(threads=1), adaptation="onnx")
    expected = recoverer.recover(photo, keypoints, max_steps=1)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(recoverer.recover, photo, keypoints, max_steps=1).result(timeout=120)
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    assert found.step_strip(photo).any()


def test_a_recoverer_pickles_as_its_arguments() -> None:
    options = EngineOptions(threads=1)
    pickled = pickle.dumps(Recoverer(options=options, backend="torch", device="cpu"))
    assert len(pickled) < 2_000
    again = pickle.loads(pickled)
    assert (again.backend, again.adaptation) == ("torch", "numba")
    copied = copy.deepcopy(again)
    assert copied.recover(BACKGROUND, standing_person(), max_steps=0).steps.tolist() == [0]
