"""`recover_batch` and `stream`: as one at a time, whoever else is there and whatever fails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dualhmr import EngineOptions, FailedPhoto, Photo, Recoverer, Recovery
from dualhmr.adaptation.schedule import NonFiniteError
from dualhmr.keypoints import BODY_25, COCO_17, Keypoints
from dualhmr.person import AdaptedPerson
from dualhmr.recoverer.arguments import chosen_schedule
from dualhmr.recoverer.streaming import PhotoStream

Pixels = NDArray[np.uint8]
STEPS = 3


@pytest.fixture(scope="module")
def recoverer() -> Recoverer:
    """As on a computer with two cores, wherever this runs."""
    return Recoverer(options=EngineOptions(threads=2))


def moved(keypoints: Keypoints, *shifts: float) -> Keypoints:
    """The same person at several places."""
    xy = np.concatenate([keypoints.xy + np.float32(shift) for shift in shifts])
    return Keypoints(COCO_17, xy, np.repeat(keypoints.confidence, len(shifts), axis=0))


@pytest.fixture(scope="module")
def photos(photo: Pixels, keypoints: Keypoints) -> list[Photo]:
    """Of none to three people, in two keypoint sets, with boxes and a camera."""
    return [
        Photo(photo, keypoints),
        Photo(photo[:400], moved(keypoints, 0, -20, 15), focal_length=700.0),
        Photo(photo, np.zeros((0, 17, 3))),
        Photo(photo, as_body_25(keypoints)),
        Photo(photo, moved(keypoints, 10), boxes=[(180, 30, 400, 480)]),
        Photo(photo, keypoints_with_nobody(keypoints)),
    ]


def as_body_25(keypoints: Keypoints) -> Keypoints:
    xy, confidence = np.zeros((1, 25, 2), np.float32), np.zeros((1, 25), np.float32)
    for index, name in enumerate(BODY_25.names):
        if name in COCO_17.names:
            xy[:, index] = keypoints.xy[:, COCO_17.index(name)]
            confidence[:, index] = keypoints.confidence[:, COCO_17.index(name)]
    return Keypoints(BODY_25, xy, confidence)


def keypoints_with_nobody(keypoints: Keypoints) -> Keypoints:
    """Two persons, of whom one has no keypoints."""
    pair = moved(keypoints, 0, 5)
    pair.confidence[0] = 0
    return pair


def one_at_a_time(recoverer: Recoverer, photos: list[Photo]) -> list[Recovery]:
    return [
        recoverer.recover(
            each.image,
            each.keypoints,
            boxes=each.boxes,
            focal_length=each.focal_length,
            max_steps=STEPS,
        )
        for each in photos
    ]


def assert_same(found: Any, expected: list[Recovery], *, within_m: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, Recovery)
        assert (one.persons == other.persons).all()
        assert one.skipped == other.skipped
        assert one.warnings == other.warnings
        np.testing.assert_allclose(one.vertices, other.vertices, atol=within_m, rtol=0)
        np.testing.assert_allclose(one.joints, other.joints, atol=within_m, rtol=0)
        np.testing.assert_allclose(one.uncertainty, other.uncertainty, atol=2 * within_m, rtol=0)
        for losses, expected_losses in zip(one.loss_history, other.loss_history, strict=True):
            assert losses == pytest.approx(expected_losses, rel=1e-5)


def grouped(recoverer: Recoverer) -> PhotoStream:
    """The stream of a GPU, on a CPU."""
    pipeline = recoverer._for_threads
    sizes = replace(pipeline.networks, batch_sizes=(1, 4, 16))
    schedule = chosen_schedule(recoverer.bundle, None, STEPS)
    return PhotoStream(replace(pipeline, networks=sizes), schedule, None, threads=2, grouped=True)


def test_many_are_as_one_at_a_time(recoverer: Recoverer, photos: list[Photo]) -> None:
    expected = one_at_a_time(recoverer, photos)
    found = list(recoverer.stream(iter(photos), max_steps=STEPS))
    assert_same(found, expected, within_m=1e-6)
    # In another order, and another number of times.
    again = list(recoverer.stream([*photos[::-1], photos[1]], max_steps=STEPS))
    assert_same(again, [*expected[::-1], expected[1]], within_m=1e-6)


def test_groups_of_people_are_as_one_at_a_time(recoverer: Recoverer, photos: list[Photo]) -> None:
    expected = one_at_a_time(recoverer, photos)
    stream = grouped(recoverer)
    assert_same(list(stream.recover(photos * 4)), expected * 4, within_m=1e-5)
    # All of them at once, whatever the threads do.
    prepared = [stream._prepare(item) for item in enumerate(photos)]
    assert_same(stream._fit(prepared), expected, within_m=1e-5)
    together = stream._fit(prepared)
    times = [each.timings_ms["networks"] for each in together if isinstance(each, Recovery)]
    assert times[2] == 0
    assert times[1] == pytest.approx(3 * times[0])


def test_a_batch(recoverer: Recoverer, photo: Pixels, keypoints: Keypoints) -> None:
    several = [keypoints, moved(keypoints, 8), moved(keypoints, 0, 4)]
    expected = one_at_a_time(recoverer, [Photo(photo, each) for each in several])
    found = recoverer.recover_batch([photo] * 3, several, max_steps=STEPS)
    assert_same(found, expected, within_m=1e-6)
    stacked = recoverer.recover_batch(
        np.stack([photo, photo]),
        np.stack([several[0].xy, several[1].xy]),
        scores=np.stack([each.confidence for each in several[:2]]),
        boxes=[None, None],
        max_steps=STEPS,
    )
    assert_same(stacked, expected[:2], within_m=1e-6)
    assert recoverer.recover_batch([]) == []


def test_an_item_that_fails_costs_only_itself(
    recoverer: Recoverer, photo: Pixels, keypoints: Keypoints, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no photograph")
    Image.fromarray(photo).save(tmp_path / "photo.png")

    def unplugged() -> Photo:
        raise ConnectionError("the camera is gone")

    items = [
        tmp_path / "missing.png",
        Photo(tmp_path / "photo.png", keypoints),
        Photo(tmp_path / "text.jpg", keypoints),
        (photo, keypoints),
        lambda: Photo(photo, keypoints),
        unplugged,
        Photo(photo, np.zeros((1, 12, 3))),
        Photo(photo, keypoints),
    ]
    found = list(recoverer.stream(items, max_steps=0))
    bad = {each.index: each.error for each in found if isinstance(each, FailedPhoto)}
    assert sorted(bad) == [0, 2, 3, 5, 6]
    kinds = (FileNotFoundError, ValueError, TypeError, ConnectionError, ValueError)
    for error, kind in zip(bad.values(), kinds, strict=True):
        assert isinstance(error, kind)
    assert "dualhmr.Photo(image, keypoints)" in str(bad[3])
    assert repr(found[5]) == "FailedPhoto(5, ConnectionError: the camera is gone)"
    good = [each for each in found if isinstance(each, Recovery)]
    assert_same(good, [recoverer.recover(photo, keypoints, max_steps=0)] * 3, within_m=1e-6)
    with pytest.raises(FileNotFoundError, match="missing"):
        recoverer.recover_batch([photo, "missing.png", photo], [keypoints] * 3, max_steps=0)


@pytest.mark.parametrize("kind", [RuntimeError, NonFiniteError])
def test_one_of_a_group_who_fails_does_not_fail_the_others(
    recoverer: Recoverer,
    photos: list[Photo],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Exception],
) -> None:
    """An engine that fails with one photograph; a person whose loss is not finite."""
    stream = grouped(recoverer)
    fitter = stream.pipeline.fitter
    adapt = fitter.adapt

    def failing(evidence: Any, *rest: Any) -> AdaptedPerson:
        if evidence.observed.keypoint_set == BODY_25:
            raise kind("the loss is nan")
        return adapt(evidence, *rest)

    monkeypatch.setattr(fitter, "adapt", failing)
    prepared = [stream._prepare(item) for item in enumerate(photos)]
    found = stream._fit(prepared)
    broken = found.pop(3)
    if kind is RuntimeError:
        assert isinstance(broken, FailedPhoto)
        assert (broken.index, type(broken.error)) == (3, RuntimeError)
    else:
        assert isinstance(broken, Recovery)
        assert broken.skipped[0].reason == "the loss is nan"
    expected = one_at_a_time(recoverer, photos)
    assert_same(found, expected[:3] + expected[4:], within_m=1e-5)


def test_the_users_detector_is_called_by_one_thread_at_a_time(
    recoverer: Recoverer, photo: Pixels, keypoints: Keypoints
) -> None:
    busy = threading.Lock()
    calls = []

    def detector(image: Pixels) -> Any:
        assert busy.acquire(blocking=False)
        calls.append(image.shape)
        found = keypoints.xy, keypoints.confidence
        busy.release()
        return found

    found = list(recoverer.stream([photo] * 8, detector=detector, max_steps=0))
    assert len(calls) == 8
    assert_same(found, [recoverer.recover(photo, detector=detector, max_steps=0)] * 8, within_m=0)
    # The default detector is found by every thread.
    default = list(recoverer.stream([photo] * 3, max_steps=0))
    assert_same(default, [recoverer.recover(photo, max_steps=0)] * 3, within_m=1e-6)


def test_adapting_all_parameters_takes_turns(photo: Pixels, keypoints: Keypoints) -> None:
    """PyTorch's functional calls exchange the parameters of the one module."""
    everything = Recoverer(scope="all", options=EngineOptions(threads=2))
    expected = [everything.recover(photo, keypoints, max_steps=2)] * 4
    found = everything.recover_batch([photo] * 4, [keypoints] * 4, max_steps=2)
    assert_same(found, expected, within_m=1e-6)
    with ThreadPoolExecutor(2) as pool:
        shared = pool.map(lambda _: everything.recover(photo, keypoints, max_steps=2), range(4))
        assert_same(shared, expected, within_m=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r, _: r.stream("photo.jpg"), TypeError, "expected an iterable of images"),
        (lambda r, photo: r.stream(Photo(photo)), TypeError, "expected an iterable of images"),
        (lambda r, photo: r.stream([photo], max_steps=-1), ValueError, "max_steps"),
        (lambda r, photo: r.stream([photo], detector="nobody"), ValueError, "unknown detector"),
        (lambda r, _: r.recover_batch("photo.jpg"), TypeError, "expected a sequence"),
        (lambda r, photo: r.recover_batch(iter([photo])), TypeError, "expected a sequence"),
        (lambda r, photo: r.recover_batch(photo), TypeError, "use recover for one"),
        (lambda r, photo: r.recover_batch([photo], []), ValueError, "0 keypoints came with 1 im"),
    ],
)
def test_arguments_for_all_items_are_checked_at_once(
    recoverer: Recoverer,
    photo: Pixels,
    call: Callable[[Recoverer, Pixels], object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        call(recoverer, photo)


def test_an_endless_source_is_read_as_results_are_taken(
    recoverer: Recoverer, photo: Pixels, keypoints: Keypoints
) -> None:
    read = []

    def camera() -> Iterator[Photo]:
        while True:
            read.append(1)
            yield Photo(photo, keypoints)

    results = recoverer.stream(camera(), max_steps=0)
    assert not read
    for _, result in zip(range(5), results, strict=False):
        assert isinstance(result, Recovery)
    assert len(read) < 15
    results.close()
