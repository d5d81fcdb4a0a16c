import itertools
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.motion_files import thinned, within_half_a_turn
from dualhmr_training.data.synthetic.poses import read_poses

UP = {"y": np.zeros(3), "z": np.array([math.pi / 2, 0, 0]), "-y": np.array([math.pi, 0, 0])}
"""The orientation of somebody who stands in a world of that up."""


def moving(frames: int, joints: int = 24, up: str = "y") -> np.ndarray:
    """Somebody who stands and bends the left elbow by 115 degrees from each frame to the next.

    The mean over 23 joints and the orientation is just below 5 degrees, so every second is kept.
    """
    poses = np.zeros((frames, joints, 3))
    poses[:, 0] = UP[up]
    poses[:, 18, 1] = np.radians(115.0) * np.arange(frames)
    return poses


def stands(rotvecs: torch.Tensor) -> bool:
    """Whether all pelvises point up in a y-up world."""
    return bool((rotvec_to_rotmat(rotvecs[:, 0])[:, 1, 1] > 0.999).all())


@pytest.mark.parametrize("joints", [24, 52, 55])
def test_amass_is_turned_upright_and_hands_are_left_out(tmp_path: Path, joints: int) -> None:
    poses = moving(6, joints, "z")
    poses[:, 24:] = 0.7  # fingers, and with 55 joints an eye
    if joints > 24:
        poses[:, 22:24] = 0.7
    np.savez(tmp_path / "walk_poses.npz", poses=poses.reshape(6, -1), betas=np.zeros(16))
    read = read_poses(tmp_path / "walk_poses.npz")
    assert set(read.clips) == {"walk_poses"}
    assert stands(read.rotvecs)
    assert not read.rotvecs[:, 22:].any()
    angles = read.rotvecs[:, 18].norm(dim=-1)
    assert angles.max() <= math.pi + 1e-5
    assert len(read.clips) == 3


def test_frames_of_a_high_rate_are_skipped(tmp_path: Path) -> None:
    poses = moving(120, up="z").reshape(120, 72)
    np.savez(tmp_path / "a.npz", poses=poses, mocap_framerate=np.array(120.0))
    # Every twelfth frame is looked at.
    assert len(read_poses(tmp_path / "a.npz").clips) <= 10


def test_split_arrays_of_amass(tmp_path: Path) -> None:
    poses = moving(3, up="z")
    np.savez(tmp_path / "a.npz", root_orient=poses[:, 0], pose_body=poses[:, 1:22].reshape(3, 63))
    assert stands(read_poses(tmp_path / "a.npz").rotvecs)


@pytest.mark.parametrize("up", list(UP))
@pytest.mark.parametrize("name", ["poses", "smpl_poses", "fullpose"])
def test_sequences_are_turned_upright(tmp_path: Path, up: str, name: str) -> None:
    path = tmp_path / "sequence.pkl"
    path.write_bytes(pickle.dumps({name: moving(4, up=up).reshape(4, 72), "smpl_trans": None}))
    read = read_poses(path)
    assert stands(read.rotvecs)
    assert read.clips == ("sequence", "sequence")


def test_people_of_a_sequence_are_clips_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "downtown.pkl"
    people = [moving(3).reshape(3, 72), moving(1).reshape(1, 72)]
    # Protocol 2, as 3DPW's files.
    path.write_bytes(pickle.dumps({"poses": people, "genders": ["m", "f"]}, protocol=2))
    assert read_poses(path).clips == ("downtown#0", "downtown#0", "downtown#1")


def test_a_folder_is_read_whole_and_shapes_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "CMU" / "01").mkdir(parents=True)
    np.savez(tmp_path / "CMU" / "01" / "a.npz", poses=moving(1, 52, "z").reshape(1, 156))
    np.savez(tmp_path / "CMU" / "01" / "shape.npz", betas=np.zeros(16))
    ours = np.zeros((2, 24, 3), np.int16)
    np.savez(
        tmp_path / "own.npz", axis_angle_i16=ours, clip=np.array(["x", "y"]),
        category=np.array(["lying", "standing"]),
    )  # fmt: skip
    (tmp_path / "notes.txt").write_text("nothing")
    read = read_poses(tmp_path)
    assert read.clips == ("CMU/01/a", "x", "y")
    assert read.categories == ("", "lying", "standing")


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self) -> tuple[object, ...]:
            return print, ("run",)

    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"poses": Call()}))
    with pytest.raises(ValueError, match=r"a\.pkl: .*nothing in it was run.*print"):
        read_poses(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"poses": np.zeros((3, 70))}, "a pose has 70 numbers, expected 72"),
        ({"poses": np.zeros(72)}, r"poses is float64 \(72,\), expected numbers \(F, 72\)"),
        ({"poses": np.full((3, 72), np.nan)}, "poses has numbers that are no angles"),
        ({"poses": np.zeros((0, 72))}, r"poses is float64 \(0, 72\)"),
        (
            {"root_orient": np.zeros((3, 3)), "pose_body": np.zeros((2, 63))},
            "root_orient is of 3 frames and pose_body of 2",
        ),
        ({"betas": np.zeros(10)}, r"no poses; expected axis_angle_i16 and clip \(ours\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_other_layouts(
    tmp_path: Path, values: dict[str, np.ndarray], message: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **values)
    else:
        path.write_bytes(pickle.dumps(values))
    with pytest.raises(ValueError, match=rf"a{suffix}.*{message}"):
        read_poses(path)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    with pytest.raises(ValueError, match=r"a\.bvh: poses are read from \.npz, \.pkl"):
        read_poses(tmp_path / "a.bvh")
    with pytest.raises(ValueError, match=r"has no files of poses: expected \.npz, \.pkl"):
        read_poses(tmp_path)


def test_kept_frames_differ_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    poses = np.cumsum(0.03 * rng.standard_normal((300, 24, 3)), axis=0)
    kept = thinned(poses)
    assert kept[0] == 0
    assert 1 < len(kept) < 300
    assert kept == sorted(set(kept))

    def change(first: int, second: int) -> float:
        a, b = (rotvec_to_rotmat(torch.from_numpy(poses[index])) for index in (first, second))
        cosine = ((a.mT @ b).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
        return math.degrees(float(cosine.clamp(-1, 1).acos().mean()))

    for before, after in itertools.pairwise(kept):
        assert change(before, after) >= 5 - 1e-6
        assert all(change(before, between) < 5 + 1e-6 for between in range(before + 1, after))


def test_somebody_who_does_not_move_is_one_pose() -> None:
    assert thinned(np.full((200, 24, 3), 0.1)) == [0]


def test_half_a_turn_and_beyond() -> None:
    lengths = np.array([0.0, 1.0, math.pi - 1e-6, math.pi + 0.5, 7.0, 100.0])
    vectors = lengths[:, None] * np.array([0.6, 0.0, 0.8])
    short = within_half_a_turn(vectors)
    assert (np.linalg.norm(short, axis=1) <= math.pi).all()
    np.testing.assert_array_equal(short[:3], vectors[:3])
    same = rotvec_to_rotmat(torch.from_numpy(vectors)), rotvec_to_rotmat(torch.from_numpy(short))
    torch.testing.assert_close(*same, atol=1e-9, rtol=0)
