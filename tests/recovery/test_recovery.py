from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from dualhmr import Recoverer, Recovery
from dualhmr.keypoints import Keypoints

SAVED = (
    "vertices",
    "joints",
    "keypoints_2d",
    "global_orient",
    "body_pose",
    "betas",
    "translation",
    "focal_length",
    "principal_point",
    "faces",
    "steps",
)


@pytest.fixture(scope="module")
def recovery(recoverer: Recoverer, photo: NDArray[np.uint8], keypoints: Keypoints) -> Recovery:
    xy = np.concatenate([keypoints.xy, keypoints.xy + np.float32([200, 0])])
    pair = Keypoints(keypoints.set, xy, np.repeat(keypoints.confidence, 2, axis=0))
    return recoverer.recover(photo, pair, max_steps=4)


def test_indexing_keeps_the_person_axis(recovery: Recovery) -> None:
    second = recovery[1]
    assert len(second) == 1
    np.testing.assert_array_equal(second.vertices, recovery.vertices[1:])
    np.testing.assert_array_equal(second.keypoints.xy, recovery.keypoints.xy[1:])
    assert second.loss_history == recovery.loss_history[1:]
    assert second.stop_reason == recovery.stop_reason[1:]
    np.testing.assert_array_equal(recovery[-1].vertices, second.vertices)
    assert [person.persons.tolist() for person in recovery] == [[0], [1]]
    with pytest.raises(IndexError):
        recovery[2]


def test_npz_holds_everything_without_pickle(recovery: Recovery, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    recovery.save(path)
    with np.load(path, allow_pickle=False) as saved:
        for name in SAVED:
            np.testing.assert_array_equal(saved[name], getattr(recovery, name))
        assert saved["stop_reason"].tolist() == list(recovery.stop_reason)
        assert saved["loss_history"][0, : len(recovery.loss_history[0])] == pytest.approx(
            recovery.loss_history[0]
        )
        assert saved["keypoint_names"].tolist() == list(recovery.keypoints.set.names)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_meshes_hold_both_persons(recovery: Recovery, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bodies{suffix}"
    recovery.save(path)
    mesh = trimesh.load(path, force="mesh")
    assert len(mesh.faces) == 2 * len(recovery.faces)


def test_unknown_suffix_and_missing_folder(recovery: Recovery, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.glb"):
        recovery.save(tmp_path / "bodies.fbx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        recovery.save(tmp_path / "nowhere" / "r.npz")
    assert list(tmp_path.iterdir()) == []


def test_step_vertices_lead_from_the_start_to_the_result(recovery: Recovery) -> None:
    steps = recovery.step_vertices(0)
    assert len(steps) == recovery.best_step[0] + 1
    np.testing.assert_allclose(steps[-1], recovery.vertices[0], atol=1e-5)
    assert np.abs(steps[0] - steps[-1]).max() > 1e-3


def test_pictures(recovery: Recovery, photo: NDArray[np.uint8]) -> None:
    overlay = recovery.overlay(photo)
    assert overlay.dtype == np.uint8
    assert overlay.shape[0] == 512
    assert overlay.shape[1] > 512
    changed = (overlay[:, :512] != photo).any(-1)
    assert 0.1 < changed.mean() < 0.9
    strip = recovery.step_strip(photo, 1)
    assert strip.shape[1] > strip.shape[0]
