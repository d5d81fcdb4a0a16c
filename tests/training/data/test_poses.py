import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.augmentation import SMPL_MIRROR
from dualhmr_training.data.synthetic.people import Viewpoints, orient
from dualhmr_training.data.synthetic.pose_limits import is_possible
from dualhmr_training.data.synthetic.poses import (
    NO_VARIATION,
    PoseVariation,
    SeededRandom,
    draw_rows,
    read_poses,
    sample_poses,
    save_poses,
    varied_poses,
)

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
ONLY_SMPL_MIRROR = PoseVariation(0, 0, 0, 0, 0, mirrored=1)


def make_pool(count: int = 40) -> Tensor:
    return 0.3 * torch.randn(count, 24, 3, generator=torch.Generator().manual_seed(3))


def among(poses: Tensor, pool: Tensor) -> Tensor:
    """For each of the poses, which of the pool's it is; one row of False where it is none."""
    return (poses[:, None] == pool[None]).flatten(2).all(2)


def test_reads_what_was_written(tmp_path: Path) -> None:
    stored = np.arange(-36, 36).reshape(3, 24, 1).repeat(3, 2).astype(np.int16) * 900
    np.savez(tmp_path / "poses.npz", axis_angle_i16=stored, clip=np.array(["b", "a", "b"]))
    poses = read_poses(tmp_path / "poses.npz")
    assert poses.clips == ("b", "a", "b")
    assert poses.rotvecs.dtype == torch.float32
    np.testing.assert_allclose(poses.rotvecs, stored * (math.pi / 32767), rtol=1e-6)
    assert torch.equal(poses.of_clips({"b"}), poses.rotvecs[[0, 2]])
    assert poses.of_clips({"c"}).shape == (0, 24, 3)


def test_the_captured_poses_are_within_half_a_turn(shared_folder: Path) -> None:
    poses = read_poses(shared_folder / "poses" / "cmu_train.npz")
    assert len(poses.clips) == len(poses.rotvecs) > 1000
    assert poses.rotvecs.abs().max() <= math.pi + 1e-6


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no pose file at .*nothing\.npz"):
        read_poses(tmp_path / "nothing.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04cut short"])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "poses.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"poses\.npz: damaged, cut short or not an \.npz"):
        read_poses(path)


def test_long_rotation_vectors_keep_their_rotation(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(40, 24, 3, generator=generator), dim=-1)
    lengths = torch.linspace(0, 30, 40)[:, None, None]
    rotvecs = directions * lengths
    save_poses(tmp_path / "poses.npz", rotvecs, [f"clip {i}" for i in range(40)])
    poses = read_poses(tmp_path / "poses.npz")
    assert poses.rotvecs.norm(dim=-1).max() <= math.pi + 1e-3
    expected = rotvec_to_rotmat(rotvecs.double()).float()
    torch.testing.assert_close(rotvec_to_rotmat(poses.rotvecs), expected, atol=3e-4, rtol=0)
    # Those that fit stay what they are, to half a unit.
    torch.testing.assert_close(poses.rotvecs[:4], rotvecs[:4], atol=5e-5, rtol=0)


def test_categories_are_written_and_read(tmp_path: Path) -> None:
    save_poses(tmp_path / "p.npz", np.zeros((2, 24, 3)), ["a", "b"], ["lying", "walking"])
    assert read_poses(tmp_path / "p.npz").categories == ("lying", "walking")
    with pytest.raises(ValueError, match="1 categories of 2 poses"):
        save_poses(tmp_path / "p.npz", np.zeros((2, 24, 3)), ["a", "b"], ["lying"])


@pytest.mark.parametrize(
    "rotvecs", [np.zeros((2, 72)), np.zeros((3, 24, 3)), np.full((2, 24, 3), np.nan)]
)
def test_other_rotation_vectors_are_not_saved(tmp_path: Path, rotvecs: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"rotation vectors are .*, expected finite \(2, 24, 3\)"):
        save_poses(tmp_path / "poses.npz", rotvecs, ["a", "b"])
    assert not list(tmp_path.iterdir())


def test_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "poses.npz", clip=np.array(["a"]), pose=np.zeros((1, 72)))
    with pytest.raises(ValueError, match=r"lacks axis_angle_i16; is it a pose file\?"):
        read_poses(tmp_path / "poses.npz")


@pytest.mark.parametrize(
    ("poses", "clips"),
    [
        (np.zeros((2, 72), np.int16), np.array(["a", "b"])),
        (np.zeros((2, 22, 3), np.int16), np.array(["a", "b"])),
        (np.zeros((2, 24, 3), np.int16), np.array(["a"])),
        (np.zeros((2, 24, 3), np.int16), np.array("a")),
        (np.zeros((2, 24, 3), np.float32), np.array(["a", "b"])),
        (np.int16(3), np.array(["a"])),
        (np.zeros((1, 24, 3), np.uint16), np.array(["a"])),
    ],
)
def test_other_shapes(tmp_path: Path, poses: np.ndarray, clips: np.ndarray) -> None:
    np.savez(tmp_path / "poses.npz", axis_angle_i16=poses, clip=clips)
    with pytest.raises(ValueError, match=r"poses are .*, expected int16 \(N, 24, 3\) and \(N,\)"):
        read_poses(tmp_path / "poses.npz")


def test_clips_that_are_no_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", axis_angle_i16=np.zeros((1, 24, 3), np.int16), clip=np.zeros(1))
    with pytest.raises(ValueError, match=r"p\.npz: clips are float64, expected text"):
        read_poses(tmp_path / "p.npz")


def test_the_same_seed_gives_the_same_numbers() -> None:
    def draw(rng: SeededRandom) -> Tensor:
        parts = [
            rng.uniform(3, 2).flatten(),
            rng.normal(4),
            rng.happens(0.5, 5).float(),
            rng.integers(100, 6).float(),
        ]
        return torch.cat(parts)

    first, second, other = draw(SeededRandom(1)), draw(SeededRandom(1)), draw(SeededRandom(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_seeded_numbers_neither_read_nor_change_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = SeededRandom(1).normal(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(SeededRandom(1).normal(3), first)


def test_probabilities_per_person() -> None:
    happened = (
        SeededRandom(0).happens(torch.tensor([[0.0], [0.25], [1.0]]), 3, 4000).double().mean(1)
    )
    assert happened[0] == 0
    assert happened[1].item() == pytest.approx(0.25, abs=0.03)
    assert happened[2] == 1


def test_the_mirror_swaps_left_and_right() -> None:
    for joint, other in enumerate(SMPL_MIRROR):
        name, mirrored = JOINT_NAMES[joint], JOINT_NAMES[other]
        swapped = name.replace("left", "?").replace("right", "left").replace("?", "right")
        assert mirrored == swapped
        assert SMPL_MIRROR[other] == joint


def test_without_variation_poses_are_the_pools_own() -> None:
    pool = make_pool()
    poses = sample_poses(pool, 200, NO_VARIATION, SeededRandom(0))
    found = among(poses, pool)
    assert (found.sum(1) == 1).all()
    assert found.any(0).double().mean() > 0.9


def test_mirroring_twice_is_no_mirroring() -> None:
    pool = make_pool(1)
    mirrored = sample_poses(pool, 1, ONLY_SMPL_MIRROR, SeededRandom(0))
    assert not torch.equal(mirrored, pool)
    assert torch.equal(sample_poses(mirrored, 1, ONLY_SMPL_MIRROR, SeededRandom(0)), pool)


def test_a_mirrored_pose_is_the_reflected_rotations() -> None:
    pool = make_pool(1)
    mirrored = rotvec_to_rotmat(sample_poses(pool, 1, ONLY_SMPL_MIRROR, SeededRandom(0)))[0]
    reflection = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    reflected = reflection @ rotvec_to_rotmat(pool)[0] @ reflection
    for name, joint in JOINT.items():
        side = name.replace("left", "?").replace("right", "left").replace("?", "right")
        torch.testing.assert_close(mirrored[JOINT[side]], reflected[joint])


@pytest.mark.parametrize(
    ("variation", "exchanged"),
    [
        (PoseVariation(1, 0, 0, 0, 0, 0), ("hip", "knee", "ankle", "foot")),
        (PoseVariation(0, 1, 0, 0, 0, 0), ("collar", "shoulder", "elbow", "wrist", "hand")),
    ],
)
def test_limbs_come_from_other_poses(variation: PoseVariation, exchanged: tuple[str, ...]) -> None:
    pool = make_pool()
    poses = sample_poses(pool, 100, variation, SeededRandom(0))
    limbs = [index for name, index in JOINT.items() if name.endswith(exchanged)]
    rest = [joint for joint in range(24) if joint not in limbs]
    own = among(poses[:, rest], pool[:, rest])
    assert (own.sum(1) == 1).all()
    for side in ("left", "right"):
        limb = [joint for joint in limbs if JOINT_NAMES[joint].startswith(side)]
        taken = among(poses[:, limb], pool[:, limb])
        assert (taken.sum(1) == 1).all()
        assert (taken != own).any(1).double().mean() > 0.8


def test_sitting_bends_hips_forward_and_knees_back() -> None:
    pool = torch.zeros(1, 24, 3)
    poses = sample_poses(pool, 300, PoseVariation(0, 0, 1, 0, 0, 0), SeededRandom(0))
    turns = rotvec_to_rotmat(poses)
    down = torch.tensor([0.0, -1.0, 0.0])
    for side, outwards in (("left", 1), ("right", -1)):
        thigh = turns[:, JOINT[f"{side}_hip"]]
        shank = thigh @ turns[:, JOINT[f"{side}_knee"]]
        assert ((thigh @ down)[:, 2] > 0).double().mean() > 0.95
        assert ((shank @ down)[:, 2] < (thigh @ down)[:, 2]).double().mean() > 0.95
        assert (outwards * (thigh @ down)[:, 0]).mean() > 0.05
    upper = [joint for name, joint in JOINT.items() if joint and "_" not in name]
    assert not poses[:, upper].any()


def test_noise_is_as_large_as_it_says() -> None:
    variation = PoseVariation(0, 0, 0, noisy=0.5, joint_noise=0.2, mirrored=0)
    noise = sample_poses(torch.zeros(1, 24, 3), 1000, variation, SeededRandom(0)).flatten(1)
    noisy = noise.any(1)
    assert noisy.double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert noise[noisy].std().item() == pytest.approx(0.2, rel=0.02)


def test_the_pool_is_not_changed() -> None:
    pool = make_pool()
    before = pool.clone()
    sample_poses(pool, 50, PoseVariation(1, 1, 1, 1, 0.1, 1), SeededRandom(0))
    assert torch.equal(pool, before)


def test_an_empty_pool_is_an_error() -> None:
    with pytest.raises(ValueError, match="no poses to draw from"):
        sample_poses(torch.zeros(0, 24, 3), 1, NO_VARIATION, SeededRandom(0))


def test_oriented_poses_are_rotations() -> None:
    rotations = orient(make_pool(), Viewpoints(tilted=0.5), SeededRandom(0))
    identity = torch.eye(3).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(40, 24))


def test_seen_upright_at_level_and_from_all_sides() -> None:
    level = Viewpoints(pitch=0, roll=0, tilted=0)
    rotations = orient(torch.zeros(2000, 24, 3), level, SeededRandom(0))
    up, front = rotations[:, 0, :, 1], rotations[:, 0, :, 2]
    # The world's up is the image's top, where y is small.
    torch.testing.assert_close(up, torch.tensor([0.0, -1.0, 0.0]).expand_as(up), rtol=0, atol=1e-6)
    assert front.mean(0).norm() < 0.06
    assert (rotations[:, 1:] == torch.eye(3)).all()


def test_pitch_and_roll_have_no_mean() -> None:
    rotations = orient(torch.zeros(4000, 24, 3), Viewpoints(0.17, 0.08, tilted=0), SeededRandom(0))
    up = rotations[:, 0, :, 1]
    assert up[:, 0].mean().abs() < 0.01
    assert up[:, 2].mean().abs() < 0.015
    assert up[:, 0].std().item() == pytest.approx(0.08, rel=0.1)
    assert up[:, 2].std().item() == pytest.approx(0.17, rel=0.1)


def test_the_body_pose_is_not_changed_by_the_view() -> None:
    pool = make_pool()
    rotations = orient(pool, Viewpoints(), SeededRandom(0))
    torch.testing.assert_close(rotations[:, 1:], rotvec_to_rotmat(pool[:, 1:]))


def test_checked_variations_are_possible_or_the_poses_of_the_pool() -> None:
    pool = 0.2 * make_pool()
    wild = PoseVariation(sitting=0, noisy=0.7, joint_noise=0.2, mirrored=0)
    rng = SeededRandom(3)
    assert is_possible(pool).all()
    assert 0.1 < is_possible(sample_poses(pool, 200, wild, rng)).float().mean() < 0.8
    rows = draw_rows(pool, 200, rng)
    poses = varied_poses(pool, rows, replace(wild, checked=True), rng)
    unchanged = (poses == pool[rows]).flatten(1).all(1)
    assert (is_possible(poses) | unchanged).all()
    assert not unchanged.all()
