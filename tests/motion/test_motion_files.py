from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.walks import free_body, random_motion

from dualhmr import Motion, read_smpl_parameters

Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""From the camera's frame."""


def test_npz_comes_back(tmp_path: Path) -> None:
    motion = random_motion()
    motion.save(tmp_path / "m.npz")
    again = Motion.load(tmp_path / "m.npz")
    np.testing.assert_allclose(again.joints, motion.joints, atol=1e-5)
    for name in ("frames", "focal_length", "principal_point", "confidence", "betas"):
        np.testing.assert_array_equal(getattr(again, name), getattr(motion, name))
    assert again.fps == motion.fps


def test_npz_is_read_as_amass(tmp_path: Path) -> None:
    motion = random_motion()
    motion.save(tmp_path / "m.npz", layout="smplh")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as saved:
        assert saved["poses"].shape == (5, 156)
        assert saved["mocap_framerate"] == 25
        assert saved["gender"] == "neutral"
    body = read_smpl_parameters(tmp_path / "m.npz", frame=2)[0]
    np.testing.assert_allclose(body.rotations[0], Z_UP @ motion.rotations[2, 0], atol=1e-5)
    np.testing.assert_allclose(body.rotations[1:22], motion.rotations[2, 1:22], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("m.fbx", {}, "suffix must be one of"),
        ("m.npz", {"layout": "smplx"}, "layout must be one of"),
        ("m.smpl", {}, "free body"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        random_motion().save(tmp_path / name, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, poses=np.zeros((2, 72)), trans=np.zeros((2, 3)), betas=np.zeros(16))
    with pytest.raises(ValueError, match="betas are of the body 'SMPL'"):
        Motion.load(path)
    np.savez(path, poses=np.zeros((2, 72)))
    with pytest.raises(ValueError, match="lacks betas, trans"):
        Motion.load(path)
    np.savez(path, poses=np.zeros((2, 7)), trans=np.zeros((2, 3)), betas=np.zeros(16), body="x")
    with pytest.raises(ValueError, match="poses are"):
        Motion.load(path, body=replace(free_body(), name="SMPL_NEUTRAL"))
