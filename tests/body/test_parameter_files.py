import pickle
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.joblib_files import FRAMES, JOBLIB_FILES, write_joblib_file
from numpy.typing import NDArray

from dualhmr import Recovery, SMPLParameters, read_smpl_parameters, recover
from dualhmr.body import parameter_files
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.example import example

QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def people(count: int, joints: int = 24) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axis-angle (P, J, 3) and betas (P, 10)."""
    rng = np.random.default_rng(count)
    return rng.normal(size=(count, joints, 3)), rng.normal(size=(count, 10))


def assert_bodies(bodies: list[SMPLParameters], vectors: NDArray[Any], betas: NDArray[Any]) -> None:
    assert len(bodies) == len(vectors) == len(betas)
    for body, pose, shape in zip(bodies, vectors, betas, strict=True):
        expected = np.tile(np.eye(3), (24, 1, 1))
        expected[: len(pose)] = rotvec_to_matrix(pose)
        np.testing.assert_allclose(body.rotations, expected, atol=1e-6)
        np.testing.assert_allclose(body.betas, shape, atol=1e-6)


# joblib's files


@pytest.mark.parametrize("kind", JOBLIB_FILES)
def test_tracks_that_joblib_wrote(tmp_path: Path, kind: str) -> None:
    path = write_joblib_file(tmp_path / "demo_clip.pkl", kind)
    for number, name in ((7, FRAMES[0]), (8, FRAMES[1])):
        for frame in (number - 7, name, Path(name).name, f"{number:06d}.png"):
            bodies = read_smpl_parameters(path, frame=frame)
            assert [body.betas.tolist() for body in bodies] == [[number] * 10, [number + 1] * 10]
            for body in bodies:
                np.testing.assert_array_equal(body.rotations, np.tile(QUARTER, (24, 1, 1)))
    (second,) = read_smpl_parameters(path, frame=1, person=1)
    assert second.betas[0] == 9


def test_the_frame_of_tracks_has_to_be_chosen(tmp_path: Path) -> None:
    path = write_joblib_file(tmp_path / "demo_clip.pkl")
    for options, message in (
        ({}, "holds 2 frames; choose one by its number from 0 or its name ('outputs/_DEMO/clip"),
        ({"frame": 2}, "frame 2 is asked for, it has 2, counted from 0"),
        ({"frame": -1}, "frame -1 is asked for"),
        ({"frame": "000009.jpg"}, "image '000009.jpg' is not listed in it"),
        ({"frame": 0, "person": 2}, "person 2 is asked for, it has 2, counted from 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            read_smpl_parameters(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["1.1.1", "1.4.2", "1.4.2 compressed"])
def test_tracks_that_are_cut_short(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "demo_clip.pkl"
    content = JOBLIB_FILES[kind]
    for length in range(0, len(content) - 1, 37):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"demo_clip\.pkl: not a readable pickle"):
            read_smpl_parameters(path, frame=0)


def test_tracks_that_are_compressed_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "demo_clip.pkl"
    path.write_bytes(b"BZh91AY")
    with pytest.raises(ValueError, match="it is compressed by bz2; write it again with zlib"):
        read_smpl_parameters(path)


def test_what_gets_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameter_files, "_LARGEST_BYTES", 100_000)
    path = tmp_path / "demo_clip.pkl"
    path.write_bytes(zlib.compress(bytes(10_000_000)))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="100001 bytes, too many"):
        read_smpl_parameters(path)
    np.savez_compressed(tmp_path / "a.npz", poses=np.zeros((1000, 72)), betas=np.zeros(10))
    with pytest.raises(ValueError, match="too many"):
        read_smpl_parameters(tmp_path / "a.npz")


# Other layouts


def matrices(vectors: NDArray[Any]) -> NDArray[Any]:
    return rotvec_to_matrix(vectors)


SPLITS: dict[str, Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]] = {
    "4D-Humans": lambda v: (matrices(v[:, :1]), matrices(v[:, 1:])),
    "our own": lambda v: (matrices(v[:, 0]), matrices(v[:, 1:])),
    "axis-angle": lambda v: (v[:, 0], v[:, 1:].reshape(len(v), -1)),
    "axis-angle by joint": lambda v: (v[:, :1], v[:, 1:]),
}


@pytest.mark.parametrize("layout", SPLITS)
@pytest.mark.parametrize("persons", [1, 3])
@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_orientation_and_pose(tmp_path: Path, layout: str, persons: int, suffix: str) -> None:
    vectors, betas = people(persons)
    first, rest = SPLITS[layout](vectors)
    content = {"global_orient": first, "body_pose": rest, "betas": betas}
    path = tmp_path / f"person{suffix}"
    if suffix == ".npz":
        np.savez(path, **content)  # type: ignore[arg-type]
    else:
        path.write_bytes(pickle.dumps(content))
    assert_bodies(read_smpl_parameters(path), vectors, betas)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_lists_of_persons(tmp_path: Path, protocol: int) -> None:
    """A dict for each person, without a person axis, or 4D-Humans' whole output."""
    vectors, betas = people(2)
    persons: list[Any] = [
        {"global_orient": matrices(pose[0]), "body_pose": matrices(pose[1:]), "betas": shape}
        for pose, shape in zip(vectors, betas, strict=True)
    ]
    path = tmp_path / "persons.pkl"
    for content in (persons, [{"pred_smpl_params": each, "pred_cam": 1} for each in persons]):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        assert_bodies(read_smpl_parameters(path), vectors, betas)


def test_body_poses_without_hands(tmp_path: Path) -> None:
    vectors, betas = people(2, joints=22)
    path = tmp_path / "x.npz"
    np.savez(
        path, global_orient=vectors[:, 0], body_pose=vectors[:, 1:].reshape(2, 63), betas=betas
    )
    assert_bodies(read_smpl_parameters(path), vectors, betas)


@pytest.mark.parametrize(("joints", "kept"), [(24, 24), (52, 22), (55, 22)])
@pytest.mark.parametrize("each_frame_has_betas", [False, True])
def test_a_frame_of_a_motion(
    tmp_path: Path, joints: int, kept: int, each_frame_has_betas: bool
) -> None:
    vectors, _ = people(4, joints=joints)
    betas = np.random.default_rng(0).normal(size=(4, 16) if each_frame_has_betas else 16)
    path = tmp_path / "walk_poses.npz"
    np.savez(
        path, poses=vectors.reshape(4, -1), betas=betas, trans=np.zeros((4, 3)), gender="female"
    )
    with pytest.raises(ValueError, match="it holds 4 frames; choose one by its number from 0"):
        read_smpl_parameters(path)
    expected = np.zeros(10) if joints == 55 else np.atleast_2d(betas)[-1][:10]
    bodies = read_smpl_parameters(path, frame=3)
    assert_bodies(bodies, vectors[3:, :kept], expected[None])


def test_what_romp_writes(tmp_path: Path) -> None:
    vectors, betas = people(2)
    image = {"smpl_thetas": vectors.reshape(2, 72), "smpl_betas": betas, "cam": np.ones((2, 3))}
    np.savez(tmp_path / "photo.npz", results=image)  # type: ignore[arg-type]
    assert_bodies(read_smpl_parameters(tmp_path / "photo.npz"), vectors, betas)
    np.savez(tmp_path / "video.npz", results={"00000001.jpg": image})  # type: ignore[arg-type]
    bodies = read_smpl_parameters(tmp_path / "video.npz", frame="00000001.jpg")
    assert_bodies(bodies, vectors, betas)
    old = [{"poses": pose.ravel(), "betas": b} for pose, b in zip(vectors, betas, strict=True)]
    np.savez(tmp_path / "old.npz", results=np.array(old))
    assert_bodies(read_smpl_parameters(tmp_path / "old.npz"), vectors, betas)
    np.save(tmp_path / "photo.npy", image)  # type: ignore[arg-type]
    assert_bodies(read_smpl_parameters(tmp_path / "photo.npy"), vectors, betas)


def test_rows_of_numbers(tmp_path: Path) -> None:
    vectors, betas = people(3)
    rows = np.concatenate([np.ones((3, 3)), vectors.reshape(3, 72), betas], axis=1)
    np.save(tmp_path / "theta.npy", rows)
    assert_bodies(read_smpl_parameters(tmp_path / "theta.npy"), vectors, betas)
    np.save(tmp_path / "theta.npy", rows[0, 3:])
    assert_bodies(read_smpl_parameters(tmp_path / "theta.npy"), vectors[:1], betas[:1])
    np.savez(tmp_path / "spin.npz", pose=rows[:, 3:75], shape=betas)
    assert_bodies(read_smpl_parameters(tmp_path / "spin.npz", person=2), vectors[2:], betas[2:])


def test_what_we_write_ourselves(tmp_path: Path) -> None:
    photo, keypoints = example()
    recovery: Recovery = recover(photo, keypoints, max_steps=1)
    recovery.save(tmp_path / "recovery.npz")
    (body,) = read_smpl_parameters(tmp_path / "recovery.npz")
    np.testing.assert_array_equal(body.rotations[0], recovery.global_orient[0])
    np.testing.assert_array_equal(body.rotations[1:], recovery.body_pose[0])
    np.testing.assert_array_equal(body.betas, recovery.betas[0])


def test_nobody_in_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "tracks.pkl"
    path.write_bytes(pickle.dumps({"1.jpg": {"smpl": [], "time": 0}}))
    assert read_smpl_parameters(path) == []


# Files that are no such files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {},
            "no bodies: expected global_orient, body_pose and betas, or poses and betas, found []",
        ),
        ({"keypoints": [1.0]}, "cannot be read as SMPL parameters"),
        (3, "no bodies: expected global_orient, body_pose and betas, or poses and betas, found 'i"),
        ({"pose": np.zeros((2, 70)), "betas": np.zeros(10)}, "pose has the shape (2, 70), expect"),
        ({"pose": "abc", "betas": np.zeros(10)}, "pose is 'abc', expected an array of numbers"),
        (
            {"pose": np.zeros((2, 72)), "betas": np.zeros((3, 10))},
            "betas have the shape (3, 10), and poses are of 2 persons",
        ),
        (
            {"global_orient": np.eye(3), "body_pose": np.zeros((23, 3, 3)), "betas": np.ones(10)},
            "person 0: the matrix of joint 1 is no rotation",
        ),
        (
            {"global_orient": np.eye(3), "body_pose": np.zeros((2, 69)), "betas": np.ones(10)},
            "global_orient has the shape (3, 3), and body_pose is of 2 persons",
        ),
        (
            {"global_orient": np.eye(3), "body_pose": np.zeros((24, 6)), "betas": np.ones(10)},
            "body_pose has the shape (24, 6), expected (P, 23, 3, 3)",
        ),
        ({"pose": np.full(72, np.nan), "betas": np.ones(10)}, "not finite"),
        ({"pose": np.zeros(72), "betas": np.array(["a"] * 10)}, "an array of dtype 'U1'"),
    ],
)
def test_contents_that_are_no_bodies(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "result.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: .*{re.escape(message)}"):
        read_smpl_parameters(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file of SMPL parameters"):
        read_smpl_parameters(tmp_path / "none.npz")
    (tmp_path / "a.obj").touch()
    with pytest.raises(ValueError, match=r"read from \.npz, \.npy and \.pkl, not '\.obj'"):
        read_smpl_parameters(tmp_path / "a.obj")
    np.savez(tmp_path / "b.npz", keypoints=np.zeros(3))
    with pytest.raises(ValueError, match=r"has neither of global_orient.*keypoints\.npy"):
        read_smpl_parameters(tmp_path / "b.npz")
    for name in ("c.npz", "c.npy", "c.pkl"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=re.escape(name)):
            read_smpl_parameters(tmp_path / name)


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("it runs",)


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".npy"])
def test_a_file_that_asks_for_code_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"attack{suffix}"
    content: Any = {"smpl_thetas": np.zeros(72), "smpl_betas": np.zeros(10), "more": Attack()}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    elif suffix == ".npz":
        np.savez(path, results=content)
    else:
        np.save(path, content)
    program = f"""
from dualhmr import read_smpl_parameters
try:
    read_smpl_parameters({str(path)!r})
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "it asks for builtins.print" in done.stdout
    assert "it runs" not in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04K\x01.", "no bodies"),
        (b"\x80\x04K\x01r\xff\xff\xff\x7f.", "it asks for memory of 2147483647 objects"),
        (b"\x80\x04u.", "not a readable pickle"),
        (b"\x80\x04}(K\x01\x85K\x02u.", "a dict with a tuple as a key"),
        (b"\x80\x04K\x01K\x02a.", "elements of something that is no list"),
        (b"\x80\x04K\x01K\x02b.", "a state of something that is no object"),
        (b"\x80\x04K\x01)\x81.", "an object of something that is no class"),
        (b"\x80\x04\x82\x01.", "it uses the instruction EXT1"),
        (b"\x80\x04(.", "mark"),
    ],
)
def test_instructions_that_do_not_fit(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "result.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*{message}"):
        read_smpl_parameters(path)


def test_lists_that_hold_each_other_end(tmp_path: Path) -> None:
    """Each of 40 lists holds the one before twice: a million million persons."""
    twice: Any = []
    for _ in range(40):
        twice = [twice, twice]
    endless: list[Any] = []
    endless.append(endless)
    for content in (twice, endless):
        path = tmp_path / "result.pkl"
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match="more than 10000 persons in a frame"):
            read_smpl_parameters(path)


def test_an_array_that_claims_to_be_larger_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "demo_clip.pkl"
    content = JOBLIB_FILES["1.4.2"]
    shape, larger = b"K\x17K\x03K\x03\x87", b"J\xff\xff\xff\x7fK\x03\x86"
    assert shape in content
    path.write_bytes(content.replace(shape, larger))
    with pytest.raises(ValueError, match="not a readable pickle"):
        read_smpl_parameters(path, frame=0)
