import importlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
import smplx
import torch
import trimesh
from helpers.fake_bodies import SMPL_PARENTS, fake_smpl_arrays
from helpers.walks import free_body, random_motion
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dualhmr import Motion, read_smpl_parameters
from dualhmr.body.arrays import JOINT_NAMES, BodyArrays
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion.bvh import euler_angles

TENTH_OF_A_MM = 1e-4
Y_UP = np.array([1.0, -1.0, -1.0])
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


class Gltf:
    """A skinned glTF as pygltflib reads it, evaluated as the specification says."""

    def __init__(self, path: Path) -> None:
        self.file = pygltflib.GLTF2().load(str(path))
        self.skin = self.file.skins[0]
        self.parents = {c: n for n, node in enumerate(self.file.nodes) for c in node.children or []}

    def array(self, index: int) -> NDArray[Any]:
        accessor = self.file.accessors[index]
        view = self.file.bufferViews[accessor.bufferView]
        dtype = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        data = self.file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
        return np.frombuffer(data, dtype[accessor.componentType]).reshape(accessor.count, width)

    def world(self, frame: int) -> dict[int, NDArray[np.float64]]:
        values = {
            (channel.target.node, channel.target.path): self.array(
                self.file.animations[0].samplers[channel.sampler].output
            )[frame]
            for animation in self.file.animations
            for channel in animation.channels
        }
        world: dict[int, NDArray[np.float64]] = {}
        for number in self.skin.joints:  # parents come first
            node, local = self.file.nodes[number], np.eye(4)
            turn = values.get((number, "rotation"), node.rotation)
            local[:3, :3] = Rotation.from_quat(turn).as_matrix()
            local[:3, 3] = values.get((number, "translation"), node.translation)
            parent = self.parents.get(number)
            world[number] = local if parent is None else world[parent] @ local
        return world

    def vertices(self, frame: int) -> NDArray[np.float64]:
        inverse = self.array(self.skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        world = self.world(frame)
        bones = np.array([world[n] @ inverse[i] for i, n in enumerate(self.skin.joints)])
        data = self.file.meshes[0].primitives[0].attributes
        weights, joints = self.array(data.WEIGHTS_0), self.array(data.JOINTS_0)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        moved = np.einsum("vk,vkab->vab", weights, bones[joints])
        points = self.array(data.POSITION)
        return np.einsum("vab,vb->va", moved[:, :3, :3], points) + moved[:, :3, 3]


def test_glb_has_the_skeleton_in_every_frame(tmp_path: Path) -> None:
    motion = random_motion()
    motion.save(tmp_path / "m.glb")
    gltf = Gltf(tmp_path / "m.glb")
    assert [gltf.file.nodes[n].name for n in gltf.skin.joints] == list(JOINT_NAMES)
    for frame in range(len(motion)):
        joints = np.array([matrix[:3, 3] for matrix in gltf.world(frame).values()])
        np.testing.assert_allclose(joints, motion.joints[frame] * Y_UP, atol=TENTH_OF_A_MM)
    times = gltf.array(gltf.file.animations[0].samplers[0].input)[:, 0]
    np.testing.assert_allclose(times, np.arange(5) / 25, atol=1e-6)
    assert len(trimesh.load(tmp_path / "m.glb").geometry["body"].faces) == len(motion.body.faces)


def test_the_skin_of_one_frame_is_the_mesh(tmp_path: Path) -> None:
    """But for the fifth and sixth joint of some of the free body's vertices."""
    motion = random_motion(1)
    motion.save(tmp_path / "m.glb")
    gltf = Gltf(tmp_path / "m.glb")
    assert not gltf.file.animations
    error = np.linalg.norm(gltf.vertices(0) - motion.vertices()[0] * Y_UP, axis=1)
    four = (motion.body.weights > 0).sum(1) <= 4
    assert error[four].max() < TENTH_OF_A_MM
    assert error.mean() < 2e-4


def bvh_joints(path: Path, frames: int) -> NDArray[np.float64]:
    """(T, 24, 3) metres, in the order of SMPL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how it imports another library
        bvhio = importlib.import_module("bvhio")
    hierarchy = bvhio.readAsHierarchy(str(path))
    found = []
    for frame in range(frames):
        hierarchy.loadPose(frame)
        place = {joint.Name: tuple(joint.PositionWorld) for joint, *_ in hierarchy.layout()}
        found.append([place[name] for name in JOINT_NAMES])
    return np.array(found) / 100


def test_bvh_has_the_skeleton_in_every_frame(tmp_path: Path) -> None:
    motion = random_motion()
    motion.save(tmp_path / "m.bvh")
    joints = bvh_joints(tmp_path / "m.bvh", len(motion))
    np.testing.assert_allclose(joints, motion.joints * Y_UP, atol=TENTH_OF_A_MM)


def test_euler_angles_follow_the_turn() -> None:
    """Through several full turns, no angle moves more than the rotation, over the cosine."""
    time = np.linspace(0, 1, 300)
    rotvecs = np.stack([0.9 * np.sin(9 * time), 25 * time, 0.5 * np.cos(7 * time)], axis=1)
    rotations = (
        Rotation.from_rotvec(rotvecs * [0, 1, 0]) * Rotation.from_rotvec(rotvecs * [1, 0, 0])
    ) * Rotation.from_rotvec(rotvecs * [0, 0, 1])
    for order, name in (((1, 0, 2), "YXZ"), ((2, 0, 1), "ZXY")):
        angles = euler_angles(rotations.as_matrix(), order)
        again = Rotation.from_euler(name, angles, degrees=True)
        assert (again * rotations.inv()).magnitude().max() < 1e-6
    turn = (rotations[1:] * rotations[:-1].inv()).magnitude()
    steps = np.abs(np.diff(euler_angles(rotations.as_matrix(), (1, 0, 2)), axis=0)).max()
    assert steps < np.degrees(turn.max()) / np.cos(0.9) + 1e-6


def test_trc_has_named_markers_in_millimetres(tmp_path: Path) -> None:
    motion = random_motion()
    motion.save(tmp_path / "m.trc")
    lines = (tmp_path / "m.trc").read_text().split("\n")
    assert lines[0].split("\t")[3] == "m.trc"
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    assert (header["DataRate"], header["NumFrames"], header["Units"]) == ("25", "5", "mm")
    names = [name for name in lines[3].split("\t")[2:] if name]
    assert len(names) == int(header["NumMarkers"]) == 35
    rows = np.array([line.split("\t") for line in lines[6:-1]], float)
    np.testing.assert_allclose(rows[:, 1], motion.times, atol=1e-6)
    points = rows[:, 2:].reshape(5, 35, 3) / 1000 * Y_UP
    np.testing.assert_allclose(points[:, :24], motion.joints, atol=TENTH_OF_A_MM)
    heel = motion.body.keypoint_regressor[motion.body.keypoint_names.index("left_heel")]
    expected = np.einsum("v,tvc->tc", heel, motion.vertices())
    np.testing.assert_allclose(points[:, names.index("left_heel")], expected, atol=TENTH_OF_A_MM)


def smpl_like() -> BodyArrays:
    """Of SMPL's topology, whose rest pelvis is not at the origin."""
    arrays = fake_smpl_arrays()
    return BodyArrays(
        name="SMPL_NEUTRAL",
        joint_regressor=arrays["J_regressor"],
        faces=arrays["f"].astype(np.int64),
        parents=SMPL_PARENTS,
        **{name: arrays[name] for name in ("v_template", "shapedirs", "posedirs", "weights")},
    )


def test_amass_files_are_the_same_body_in_smplx(tmp_path: Path) -> None:
    """smplx poses SMPL from the file's numbers alone."""
    body = smpl_like()
    motion = random_motion(3, body=body)
    motion.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as saved:
        arrays = {name: torch.from_numpy(saved[name]) for name in ("poses", "trans", "betas")}
    tensors = {
        name: torch.from_numpy(np.asarray(getattr(body, name), np.float64))
        for name in ("v_template", "shapedirs", "posedirs", "joint_regressor", "weights")
    }
    _, joints = smplx.lbs.lbs(
        arrays["betas"].expand(3, -1),
        arrays["poses"],
        tensors["v_template"][None].expand(3, -1, -1),
        tensors["shapedirs"],
        tensors["posedirs"].flatten(0, 1).T,
        tensors["joint_regressor"],
        torch.tensor(body.parents),
        tensors["weights"],
    )
    world = (joints + arrays["trans"][:, None]).numpy()
    np.testing.assert_allclose(world, motion.joints @ Z_UP.T, atol=TENTH_OF_A_MM)
    again = Motion.load(tmp_path / "m.npz", body=body)
    np.testing.assert_allclose(again.joints, motion.joints, atol=1e-5)


def test_smpl_files_are_read_by_their_own_codec(tmp_path: Path) -> None:
    codec = pytest.importorskip("smplcodec")  # it needs Python 3.11
    motion = random_motion(3, body=smpl_like())
    motion.save(tmp_path / "m.smpl")
    read = codec.SMPLCodec.from_file(tmp_path / "m.smpl")
    assert (read.frame_count, read.frame_rate, read.smpl_version) == (3, 25.0, 0)
    again = Motion(
        rotvec_to_matrix(read.body_pose), read.shape_parameters, read.body_translation, motion.body
    )
    np.testing.assert_allclose(again.joints, motion.joints * Y_UP, atol=TENTH_OF_A_MM)
