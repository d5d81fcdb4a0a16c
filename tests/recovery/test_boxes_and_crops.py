"""What may be passed beside the keypoints: boxes and ready crops."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.small_bundle import IMAGE_SPEC, write_small_bundle
from numpy.typing import NDArray

from dualhmr import Box, Recoverer
from dualhmr.camera import keypoint_box
from dualhmr.crop import crop_person
from dualhmr.keypoints import Keypoints

Photo = NDArray[np.uint8]


@pytest.fixture(scope="module")
def image_recoverer(tmp_path_factory: pytest.TempPathFactory) -> Recoverer:
    """Untrained networks that read the image and the box."""
    folder = tmp_path_factory.mktemp("bundles") / "image"
    return Recoverer(write_small_bundle(folder, main=IMAGE_SPEC, auxiliary=IMAGE_SPEC))


def rectangle(keypoints: Keypoints) -> NDArray[np.float32]:
    """(4,) around the labelled keypoints of the first person."""
    points = keypoints.xy[0][keypoints.confidence[0] > 0]
    return np.concatenate([points.min(0), points.max(0)])


@pytest.mark.parametrize("kind", ["corners", "box", "center and scale"])
def test_the_rectangle_of_the_keypoints_changes_nothing(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, kind: str
) -> None:
    corners = rectangle(keypoints)
    center, height = keypoint_box(keypoints.xy, keypoints.confidence)
    boxes = {
        "corners": corners[None],
        "box": [Box.from_corners(corners)],
        "center and scale": Box.from_center_scale(center[0], float(height[0]) / 200),
    }[kind]
    usual = recoverer.recover(photo, keypoints)
    boxed = recoverer.recover(photo, keypoints, boxes=boxes)
    np.testing.assert_allclose(boxed.vertices, usual.vertices, atol=1e-4)


def test_another_box_is_what_the_networks_see(
    image_recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    corners = rectangle(keypoints) + np.array([-40, -60, 30, 50])
    (seen,) = image_recoverer.predict(photo, keypoints, boxes=corners)
    assert seen.box.corners() == pytest.approx(Box.from_corners(corners).corners(), abs=1e-3)
    expected = crop_person(photo, np.array(seen.box.center), seen.box.height)
    np.testing.assert_array_equal(seen.crop, expected)
    (usual,) = image_recoverer.predict(photo, keypoints)
    assert np.abs(seen.features - usual.features).max() > 1e-4


def test_boxes_without_a_margin_and_a_focal_length_as_the_manifest_says(
    tmp_path: Path, photo: Photo, keypoints: Keypoints
) -> None:
    bundle = write_small_bundle(
        tmp_path / "b",
        main=IMAGE_SPEC,
        auxiliary=IMAGE_SPEC,
        crop="hmr2",
        focal_length="hmr2",
    )
    (seen,) = Recoverer(bundle).predict(photo, keypoints)
    x0, y0, x1, y1 = rectangle(keypoints)
    assert seen.box.height == pytest.approx(max(y1 - y0, (x1 - x0) * 4 / 3))
    assert seen.focal_length == pytest.approx(5000 / 256 * max(photo.shape[:2]))
    expected = crop_person(photo, np.array(seen.box.center), seen.box.height, convention="hmr2")
    np.testing.assert_array_equal(seen.crop, expected)


def test_one_person_with_a_box_and_one_without(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    pair = Keypoints(
        keypoints.set,
        np.repeat(keypoints.xy, 2, axis=0),
        np.repeat(keypoints.confidence, 2, axis=0),
    )
    corners = rectangle(keypoints) + np.array([-20, -20, 20, 20])
    both = recoverer.recover(photo, pair, boxes=[None, corners], max_steps=1)
    usual = recoverer.recover(photo, keypoints, max_steps=1)
    boxed = recoverer.recover(photo, keypoints, boxes=corners, max_steps=1)
    np.testing.assert_allclose(both[0].vertices, usual.vertices, atol=1e-5)
    np.testing.assert_allclose(both[1].vertices, boxed.vertices, atol=1e-5)
    assert np.abs(usual.vertices - boxed.vertices).max() > 1e-3


def test_a_box_that_cannot_be_right_costs_only_its_person(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    crowd = Keypoints(
        keypoints.set,
        np.repeat(keypoints.xy, 4, axis=0),
        np.repeat(keypoints.confidence, 4, axis=0),
    )
    elsewhere, tiny, far = [600, 10, 700, 90], Box((250, 250), 1.0), [400, 300, 500, 500]
    recovery = recoverer.recover(photo, crowd, boxes=[None, elsewhere, tiny, far], max_steps=0)
    assert recovery.persons.tolist() == [0, 3]
    reasons = dict(recovery.skipped)
    assert "completely outside of the 512x512 image" in reasons[1]
    assert "the box is 1 pixels high" in reasons[2]
    kinds = [(warning.person, warning.kind) for warning in recovery.warnings]
    assert (3, "outside_box") in kinds
    assert (0, "outside_box") not in kinds


def test_a_ready_crop_is_what_the_networks_read(
    image_recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    box = Box.from_corners(rectangle(keypoints))
    crop = crop_person(photo, np.array(box.center), box.height)
    usual = image_recoverer.recover(photo, keypoints, boxes=box, max_steps=2)
    black = np.zeros_like(photo)
    ready = image_recoverer.recover(black, keypoints, boxes=box, crops=crop, max_steps=2)
    np.testing.assert_array_equal(ready.vertices, usual.vertices)
    among = image_recoverer.predict(black, keypoints, boxes=[box], crops=np.stack([crop]))
    np.testing.assert_array_equal(among[0].crop, crop)
    without = image_recoverer.recover(black, keypoints, boxes=box, crops=[None], max_steps=2)
    assert np.abs(without.vertices - usual.vertices).max() > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": [[0, 0, 9, 9]] * 2}, "2 boxes came with 1 person(s)"),
        ({"crops": np.zeros((256, 192, 3), np.uint8)}, "a crop needs the box that it was made of"),
        (
            {"crops": np.zeros((192, 256, 3), np.uint8), "boxes": [0, 0, 99, 99]},
            "crops, person 0: shape (192, 256, 3), expected (256, 192, 3)",
        ),
        (
            {"crops": np.zeros((256, 192, 3), np.float32), "boxes": [0, 0, 99, 99]},
            "crops, person 0: float32, expected a NumPy array of uint8",
        ),
        ({"crops": "photo.png", "boxes": [0, 0, 99, 99]}, "crops is 'photo.png'"),
        ({"crops": [None, None], "boxes": [0, 0, 99, 99]}, "2 crops came with 1 person(s)"),
    ],
)
def test_boxes_and_crops_that_do_not_fit(
    image_recoverer: Recoverer, photo: Photo, keypoints: Keypoints, options: dict, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        image_recoverer.recover(photo, keypoints, **options)


def test_crops_that_nobody_would_read_are_an_error(
    photo: Photo, keypoints: Keypoints, tmp_path: Path
) -> None:
    recoverer = Recoverer(write_small_bundle(tmp_path / "bundle"))
    crop, box = np.zeros((256, 192, 3), np.uint8), Box((256, 256), 400)
    with pytest.raises(ValueError, match="do not read the image; leave crops out"):
        recoverer.recover(photo, keypoints, boxes=box, crops=crop)


# predict


@pytest.mark.parametrize("adaptation", ["torch", "onnx"])
def test_the_first_guess_is_where_recover_starts(
    photo: Photo, keypoints: Keypoints, adaptation: str
) -> None:
    recoverer = Recoverer(adaptation=adaptation)
    (seen,) = recoverer.predict(photo, keypoints)
    start = recoverer.recover(photo, keypoints, max_steps=0)
    assert seen.person == 0
    np.testing.assert_allclose(
        seen.first_guess.rotations,
        np.concatenate([start.global_orient, start.body_pose[0]]),
        atol=1e-5,
    )
    np.testing.assert_allclose(seen.first_guess.betas, start.betas[0], atol=1e-4)
    np.testing.assert_allclose(seen.translation, start.translation[0], rtol=1e-4, atol=1e-4)
    assert seen.focal_length == start.focal_length[0]
    np.testing.assert_array_equal(seen.principal_point, start.principal_point[0])


def test_both_adaptations_predict_the_same(photo: Photo, keypoints: Keypoints) -> None:
    """The camera too, which the graph does not give."""
    (ours,), (reference,) = (
        Recoverer(adaptation=adaptation).predict(photo, keypoints)
        for adaptation in ("onnx", "torch")
    )
    np.testing.assert_allclose(ours.camera, reference.camera, atol=1e-5)
    np.testing.assert_allclose(ours.features, reference.features, atol=1e-6)
    np.testing.assert_allclose(
        ours.pseudo_mesh.rotations, reference.pseudo_mesh.rotations, atol=1e-6
    )


def test_image_networks_need_no_keypoints(
    image_recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    boxes = [rectangle(keypoints), Box((250, 250), 300)]
    first, second = image_recoverer.predict(photo, boxes=boxes)
    (with_keypoints,) = image_recoverer.predict(photo, keypoints, boxes=boxes[0])
    assert (first.person, second.person) == (0, 1)
    for name in ("features", "camera", "translation"):
        np.testing.assert_array_equal(getattr(first, name), getattr(with_keypoints, name))
    np.testing.assert_array_equal(first.first_guess.rotations, with_keypoints.first_guess.rotations)


def test_what_predict_cannot_do_without(
    recoverer: Recoverer, image_recoverer: Recoverer, photo: Photo
) -> None:
    with pytest.raises(ValueError, match="read keypoints: pass them, also where there are boxes"):
        recoverer.predict(photo, boxes=[0, 0, 200, 400])
    assert len(image_recoverer.predict(photo)) == 1  # whom the detector finds
    with pytest.raises(ValueError, match="person 1 has no box"):
        image_recoverer.predict(photo, boxes=[[0, 0, 200, 400], None])


def test_nobody_is_predicted(image_recoverer: Recoverer, photo: Photo) -> None:
    assert image_recoverer.predict(photo, np.zeros((0, 17, 3))) == ()
    assert image_recoverer.predict(photo, boxes=[]) == ()
