"""`recover` on a photograph alone: people are found, by MoveNet or by a user's detector."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers.standing_person import standing_person
from PIL import Image

import dualhmr
from dualhmr.detection import Detections, MovenetOptions
from dualhmr.example import example
from dualhmr.keypoints import COCO_17, KeypointSet


@pytest.fixture(scope="module")
def recoverer() -> dualhmr.Recoverer:
    return dualhmr.Recoverer()


def standing(_image: npt.NDArray[np.uint8]) -> Any:
    """A detector with one person."""
    return standing_person()[None], np.full((1, 17), 0.8)


def nobody(_image: npt.NDArray[np.uint8]) -> Any:
    return np.zeros((0, 17, 2)), np.zeros((0, 17))


def test_a_photograph_is_enough(recoverer: dualhmr.Recoverer, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(example()[0]).save(path)
    recovery = recoverer.recover(path, max_steps=5)
    assert len(recovery) == 1
    found = recoverer.detect(path)
    np.testing.assert_array_equal(recovery.keypoints.xy, found.keypoints)
    np.testing.assert_array_equal(recovery.keypoints.confidence, found.to_keypoints().confidence)
    assert recovery.timings_ms["detection"] > 0
    same = recoverer.recover(path, found.to_keypoints(), max_steps=5)
    np.testing.assert_array_equal(same.vertices, recovery.vertices)
    # Bodies of found and of annotated keypoints stand alike.
    annotated = recoverer.recover(path, example()[1], max_steps=5)
    away = np.linalg.norm(recovery.vertices[0] - annotated.vertices[0], axis=1)
    depth = recovery.vertices[0, :, 2].mean()
    assert away.mean() < 0.25 * depth


def test_persons_of_exif_turned_photographs_stand_upright(
    recoverer: dualhmr.Recoverer, tmp_path: Path
) -> None:
    upright = example()[0]
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        recoverer.detect(tmp_path / "turned.png").keypoints, recoverer.detect(upright).keypoints
    )


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA"])
def test_grey_deep_and_transparent_photographs(
    mode: str, recoverer: dualhmr.Recoverer, tmp_path: Path
) -> None:
    grey = example()[0][..., 0]
    images = {
        "L": Image.fromarray(grey),
        "I;16": Image.fromarray(grey.astype(np.uint16) << 8),
        "RGBA": Image.fromarray(example()[0]).convert("RGBA"),
    }
    images[mode].save(tmp_path / "photo.png")
    assert len(recoverer.detect(tmp_path / "photo.png")) == 1


def test_nobody_is_an_empty_recovery(recoverer: dualhmr.Recoverer) -> None:
    for detector in (None, nobody):
        recovery = recoverer.recover(np.zeros((40, 50, 3), np.uint8), detector=detector)
        assert len(recovery) == 0
        assert recovery.skipped == ()
    assert recoverer.predict(np.zeros((40, 50, 3), np.uint8)) == ()


def test_detectors_of_users(recoverer: dualhmr.Recoverer) -> None:
    image = np.zeros((500, 512, 3), np.uint8)
    given = recoverer.recover(image, detector=standing, max_steps=3)
    own = dualhmr.Recoverer(detector=standing)
    np.testing.assert_array_equal(own.recover(image, max_steps=3).vertices, given.vertices)
    np.testing.assert_allclose(given.keypoints.xy[0], standing_person())
    np.testing.assert_allclose(given.keypoints.confidence[0], 1)
    again = pickle.loads(pickle.dumps(own))
    np.testing.assert_array_equal(again.recover(image, max_steps=3).vertices, given.vertices)
    (prediction,) = own.predict(image)
    assert prediction.person == 0


def test_a_detector_of_a_set_of_its_own(recoverer: dualhmr.Recoverer) -> None:
    names = KeypointSet("body", COCO_17.names[5:])

    def detector(_image: object) -> Any:
        return standing_person(names)[None], np.full((1, 12), 0.8)

    image = np.zeros((500, 512, 3), np.uint8)
    recovery = recoverer.recover(image, detector=detector, keypoint_set=names, max_steps=1)
    assert recovery.keypoints.set == names


def test_what_does_not_go_together(recoverer: dualhmr.Recoverer) -> None:
    image = np.zeros((500, 512, 3), np.uint8)
    with pytest.raises(ValueError, match="a detector came with keypoints"):
        recoverer.recover(image, standing_person(), detector=standing)
    with pytest.raises(ValueError, match="a detector came with boxes"):
        recoverer.recover(image, boxes=(1, 2, 30, 40), detector=standing)
    with pytest.raises(ValueError, match="scores came without"):
        recoverer.recover(image, scores=np.ones(17))
    with pytest.raises(ValueError, match="nothing says whose it is"):
        recoverer.recover(image, pseudo_mesh=[None])
    with pytest.raises(ValueError, match="unknown detector 'rtmpose'"):
        recoverer.recover(image, detector="rtmpose")
    with pytest.raises(RuntimeError, match="failed"):
        recoverer.recover(image, detector=lambda _image: 1 / 0)


def test_a_detector_finds_more_than_one_and_persons_are_alone(
    recoverer: dualhmr.Recoverer,
) -> None:
    tiled = np.tile(example()[0], (1, 2, 1))
    found = recoverer.detect(tiled)
    assert len(found) == 2
    both = recoverer.recover(tiled, max_steps=3)

    def second_only(_image: object) -> Detections:
        return found.select([1])

    one = recoverer.recover(tiled, detector=second_only, max_steps=3)
    np.testing.assert_array_equal(one.vertices[0], both.vertices[1])


def test_settings_of_the_default_detector() -> None:
    strict = dualhmr.MovenetDetector(MovenetOptions(min_score=0.95))
    assert len(dualhmr.Recoverer(detector=strict).recover(example()[0])) == 0
