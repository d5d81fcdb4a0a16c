import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dualhmr import Recoverer, load_body, recover
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.keypoints import (
    BODY_25,
    COCO_17,
    COCO_WHOLEBODY_133,
    HALPE_26,
    Keypoints,
    KeypointSet,
)

Photo = NDArray[np.uint8]


def as_set(keypoints: Keypoints, target: KeypointSet) -> Keypoints:
    """The same points, named in another set."""
    xy = np.zeros((len(keypoints), len(target), 2), np.float32)
    confidence = np.zeros((len(keypoints), len(target)), np.float32)
    for index, name in enumerate(target.names):
        if name in keypoints.set.names:
            source = keypoints.set.index(name)
            xy[:, index] = keypoints.xy[:, source]
            confidence[:, index] = keypoints.confidence[:, source]
    return Keypoints(target, xy, confidence)


def several(keypoints: Keypoints, *shifts: tuple[float, float]) -> Keypoints:
    """The same person at several places."""
    xy = np.concatenate([keypoints.xy + np.array(shift, np.float32) for shift in shifts])
    return Keypoints(keypoints.set, xy, np.repeat(keypoints.confidence, len(shifts), axis=0))


def test_adaptation_brings_the_body_nearer_to_the_keypoints(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    recovery = recoverer.recover(photo, keypoints)
    before, after = recovery.reprojection_px[0]
    assert after < 0.7 * before
    history = recovery.loss_history[0]
    assert len(history) == recovery.steps[0] + 1
    assert recovery.best_step[0] == np.argmin(history)
    assert recovery.stop_reason[0] in ("converged", "max_steps")


@pytest.mark.parametrize("schedule", ["paper", "trained", "release", "eft"])
def test_no_schedule_ends_worse_than_it_began(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, schedule: str
) -> None:
    recovery = recoverer.recover(photo, keypoints, schedule=schedule, iterate="best")
    history = recovery.loss_history[0]
    assert history[recovery.best_step[0]] == min(history) < history[0]


def test_the_iterate_that_is_returned_can_be_chosen(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    of_release, last, best = (
        recoverer.recover(photo, keypoints, schedule="release", iterate=iterate)
        for iterate in (None, "last", "best")
    )
    assert of_release.best_step == last.best_step == last.steps
    np.testing.assert_array_equal(of_release.vertices, last.vertices)
    assert best.best_step == np.argmin(best.loss_history[0])
    assert best.loss_history == last.loss_history
    paper = recoverer.recover(photo, keypoints, schedule="paper", iterate="last", max_steps=3)
    assert paper.best_step == 3
    with pytest.raises(ValueError, match="iterate is 'first', expected one of best, last"):
        recoverer.recover(photo, keypoints, iterate="first")
    with pytest.raises(TypeError, match="iterate is 3"):
        recoverer.recover(photo, keypoints, iterate=3)  # type: ignore[arg-type]


def test_result_is_consistent_with_itself(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    """Vertices, keypoints and camera agree: projecting the mesh's own points gives keypoints_2d."""
    recovery = recoverer.recover(photo, keypoints)
    body = load_body()
    regressor = keypoint_regressor(body, COCO_17)
    points = regressor.from_mesh(
        torch.from_numpy(recovery.vertices), torch.from_numpy(recovery.joints)
    ).numpy()
    projected = points[..., :2] / points[..., 2:] * recovery.focal_length[:, None, None]
    projected += recovery.principal_point[:, None]
    np.testing.assert_allclose(recovery.keypoints_2d, projected, atol=0.02)
    assert (recovery.vertices[..., 2] > 0).all()
    rotations = np.concatenate([recovery.global_orient[:, None], recovery.body_pose], axis=1)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(-1, -2), np.broadcast_to(np.eye(3), (1, 24, 3, 3)), atol=1e-5
    )


def test_a_person_alone_and_among_others_is_the_same(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    crowd = recoverer.recover(photo, several(keypoints, (120, -30), (0, 0), (60, 40)))
    alone = recoverer.recover(photo, keypoints)
    assert len(crowd) == 3
    np.testing.assert_allclose(crowd[1].vertices, alone.vertices, atol=1e-5)
    assert crowd.loss_history[1] == pytest.approx(alone.loss_history[0], abs=1e-7)


@pytest.mark.parametrize("target", [BODY_25, HALPE_26, COCO_WHOLEBODY_133])
def test_the_same_points_in_another_set_give_the_same_body(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, target: KeypointSet
) -> None:
    renamed = recoverer.recover(photo, as_set(keypoints, target))
    original = recoverer.recover(photo, keypoints)
    np.testing.assert_allclose(renamed.vertices, original.vertices, atol=1e-4)
    assert renamed.keypoints_2d.shape == (1, len(target), 2)
    nose = target.index("nose")
    np.testing.assert_allclose(
        renamed.keypoints_2d[0, nose], original.keypoints_2d[0, 0], atol=0.05
    )


def test_moving_camera_and_keypoints_together_changes_nothing(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    """A crop of a larger photograph, whose camera is known, gives the same body."""
    canvas = np.zeros((900, 800, 3), np.uint8)
    canvas[200:712, 100:612] = photo
    shift = (100.0, 200.0)
    original = recoverer.recover(photo, keypoints, focal_length=700.0)
    moved = recoverer.recover(
        canvas,
        several(keypoints, shift),
        focal_length=700.0,
        principal_point=(256.0 + shift[0], 256.0 + shift[1]),
    )
    np.testing.assert_allclose(moved.vertices, original.vertices, atol=2e-4)
    np.testing.assert_allclose(
        moved.keypoints_2d - np.float32(shift), original.keypoints_2d, atol=0.05
    )


def test_focal_length_moves_the_person_away(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    near, far = (
        recoverer.recover(photo, keypoints, focal_length=focal).translation[0, 2]
        for focal in (500.0, 2000.0)
    )
    assert far > 3 * near


def test_paths_images_and_arrays_are_the_same(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    expected = recoverer.recover(photo, keypoints, max_steps=1).vertices
    for image in (path, str(path), Image.open(path)):
        np.testing.assert_array_equal(
            recoverer.recover(image, keypoints, max_steps=1).vertices, expected
        )


def test_skips_those_who_cannot_be_recovered(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    crowd = several(keypoints, (0, 0), (0, 0), (5000, 0), (10, 0))
    crowd.confidence[1, 4:] = 0
    recovery = recoverer.recover(photo, crowd)
    assert recovery.persons.tolist() == [0, 3]
    assert [skipped.person for skipped in recovery.skipped] == [1, 2]
    assert "at least 6 are needed" in recovery.skipped[0].reason
    assert "outside of the 512x512 image" in recovery.skipped[1].reason
    assert recovery.keypoints.xy.shape == (2, 17, 2)


def test_nobody_left_is_an_empty_recovery(recoverer: Recoverer, photo: Photo) -> None:
    one_point = np.tile(np.array([[100.0, 100.0, 1.0]]), (17, 1))
    recovery = recoverer.recover(photo, one_point)
    assert len(recovery) == 0
    assert "all keypoints lie" in recovery.skipped[0].reason


def test_max_steps_zero_is_plain_regression(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    recovery = recoverer.recover(photo, keypoints, max_steps=0)
    assert recovery.steps.tolist() == [0]
    assert recovery.reprojection_px[0, 0] == recovery.reprojection_px[0, 1]


def test_divergence_returns_the_last_good_mesh(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    wild = Schedule("wild", (Phase(Adam(1e30), 14),), tolerance=0.0)
    recovery = recoverer.recover(photo, keypoints, schedule=wild)
    start = recoverer.recover(photo, keypoints, max_steps=0)
    assert recovery.stop_reason == ("non_finite",)
    np.testing.assert_array_equal(recovery.vertices, start.vertices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"focal_length": 0.0}, "focal_length is 0, expected 102 to 51200"),
        ({"focal_length": float("nan")}, "focal_length is nan"),
        (
            {"principal_point": (1.0, float("inf"))},
            "principal_point is inf, which is not finite",
        ),
        ({"schedule": "papper"}, "unknown schedule 'papper'; known are paper"),
        ({"max_steps": -1}, "max_steps is -1"),
        ({"keypoint_set": "coco_18"}, "unknown keypoint set 'coco_18'"),
    ],
)
def test_bad_options(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, options: dict, message: str
) -> None:
    given = np.concatenate([keypoints.xy[0], keypoints.confidence[0][:, None]], axis=1)
    with pytest.raises(ValueError, match=message):
        recoverer.recover(photo, given, **options)


def test_bad_devices_backends_and_scopes() -> None:
    with pytest.raises(ValueError, match="unknown device 'gpu9'"):
        Recoverer(device="gpu9")
    with pytest.raises(ValueError, match="unknown backend 'tflite'; known are auto, onnx"):
        Recoverer(backend="tflite")
    with pytest.raises(ValueError, match="use backend='torch'"):
        Recoverer(backend="onnxruntime", scope="all")
    with pytest.raises(ValueError, match="unknown scope 'some'"):
        Recoverer(scope="some")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="sees no GPU"):
        Recoverer(device="cuda")


def test_a_body_that_does_not_fit_the_bundle_is_an_error() -> None:
    other = dataclasses.replace(load_body(), name="basicmodel_m")
    with pytest.raises(ValueError, match="betas mean nothing on body 'basicmodel_m'"):
        Recoverer(body=other)


def test_scope_all_adapts_the_backbone_too(photo: Photo, keypoints: Keypoints) -> None:
    head, everything = (
        Recoverer(backend="torch", scope=scope).recover(photo, keypoints, max_steps=3)
        for scope in ("head", "all")
    )
    assert head.loss_history[0][0] == pytest.approx(everything.loss_history[0][0], rel=1e-5)
    assert min(everything.loss_history[0]) < everything.loss_history[0][0]
    assert everything.loss_history[0][1] != pytest.approx(head.loss_history[0][1], rel=1e-3)


def test_backends_agree(recoverer: Recoverer, photo: Photo, keypoints: Keypoints) -> None:
    reference = Recoverer(backend="torch").recover(photo, keypoints)
    recovery = recoverer.recover(photo, keypoints)
    np.testing.assert_allclose(recovery.vertices, reference.vertices, atol=1e-4)
    assert "torch" in reference.engine
    assert "CPUExecutionProvider" in recovery.engine


def test_auto_takes_what_the_scope_needs(recoverer: Recoverer) -> None:
    assert recoverer.backend == "onnxruntime"
    assert Recoverer(scope="all").backend == "torch"


def test_the_function_is_the_object(photo: Photo, keypoints: Keypoints) -> None:
    scores = keypoints.confidence
    recovery = recover(photo, keypoints.xy, scores=scores, max_steps=2, backend="torch")
    assert recovery.steps.tolist() == [2]
    assert recovery.engine.startswith("torch")


@pytest.mark.parametrize("value", [3, 6, 8])
@pytest.mark.parametrize("size_in_exif", [True, False])
def test_a_photograph_that_was_turned_by_hand(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, value: int, size_in_exif: bool
) -> None:
    wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
    back = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    forth = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_270,
        8: Image.Transpose.ROTATE_90,
    }
    stored, exif = Image.fromarray(wide).transpose(back[value]), Image.Exif()
    exif[0x0112] = value
    if size_in_exif:
        exif[0x8769] = {0xA002: stored.width, 0xA003: stored.height}
    stored.info["exif"] = exif.tobytes()
    mirrored = keypoints.xy.copy()
    mirrored[..., 0] = wide.shape[1] - 1 - mirrored[..., 0]
    twice = Keypoints(
        keypoints.set,
        np.concatenate([keypoints.xy, mirrored]),
        np.concatenate([keypoints.confidence] * 2),
    )
    upright = stored.transpose(forth[value])
    recovery = recoverer.recover(upright, twice, max_steps=0)
    said = [warning for warning in recovery.warnings if warning.kind == "orientation"]
    if value == 3:  # nothing can show it: the rule holds, and it is said of everybody
        expected = recoverer.recover(wide[::-1, ::-1], twice, max_steps=0)
        assert [warning.person for warning in said] == [0, 1]
    else:
        expected = recoverer.recover(wide, twice, max_steps=0)
        assert bool(said) != size_in_exif
        assert recovery.overlay(upright).shape[0] == 512
    np.testing.assert_array_equal(recovery.vertices, expected.vertices)
