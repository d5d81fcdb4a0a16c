import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from helpers.fake_bodies import SMPL_PARENTS, random_body
from smplx import SMPL
from smplx.lbs import lbs
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids
from torch import Tensor

from dualhmr.body.model import Body, load_body, pose_skeleton, rest_joints, skin, skin_vertices
from dualhmr.rotations import rotvec_to_rotmat


def random_rotvecs(persons: int, *, seed: int = 0, scale: float = 0.6) -> Tensor:
    """(N, 24, 3); the first person is at rest."""
    rotvecs = np.random.default_rng(seed).normal(0, scale, (persons, 24, 3))
    rotvecs[0] = 0
    return torch.from_numpy(rotvecs)


def random_betas(persons: int, body: Body, *, seed: int = 1) -> Tensor:
    betas = np.random.default_rng(seed).normal(0, 1.5, (persons, body.beta_count))
    return torch.from_numpy(betas).to(body.v_template.dtype)


def random_rotations(persons: int, body: Body) -> Tensor:
    return rotvec_to_rotmat(random_rotvecs(persons)).to(body.v_template.dtype)


def smplx_lbs(body: Body, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
    vertices, joints = lbs(
        betas,
        rotations,
        body.v_template,
        body.shapedirs,
        body.posedirs.flatten(0, 1).T,
        body.joint_regressor,
        torch.tensor(body.parents),
        body.weights,
        pose2rot=False,
    )
    return vertices, joints


def smplx_model(body: Body) -> SMPL:
    arrays = {
        "v_template": body.v_template.numpy(),
        "shapedirs": body.shapedirs.numpy(),
        "posedirs": body.posedirs.numpy(),
        "J_regressor": body.joint_regressor.numpy(),
        "weights": body.weights.numpy(),
        "kintree_table": np.array([body.parents, range(24)]),
        "f": body.faces.numpy(),
    }
    options: dict[str, Any] = dict.fromkeys(
        ("create_betas", "create_body_pose", "create_global_orient", "create_transl"), False
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that there are only ten betas
        return SMPL(
            "",
            data_struct=Struct(**arrays),
            vertex_ids=dict.fromkeys(vertex_ids["smplh"], 0),
            **options,
        )


def random_tree(seed: int) -> tuple[int, ...]:
    rng = np.random.default_rng(seed)
    return (-1, *(int(rng.integers(0, joint)) for joint in range(1, 24)))


TREES = {
    "smpl": SMPL_PARENTS,
    "chain": tuple(range(-1, 23)),
    "star": (-1, *[0] * 23),
    "random_1": random_tree(1),
    "random_2": random_tree(2),
}


@pytest.mark.parametrize("tree", TREES)
def test_skinning_is_that_of_smplx(tree: str) -> None:
    body = random_body(parents=TREES[tree])
    rotations, betas = random_rotations(5, body), random_betas(5, body)
    vertices, joints = smplx_lbs(body, rotations, betas)
    posed = skin(body, rotations, betas)
    torch.testing.assert_close(posed.vertices, vertices, rtol=0, atol=1e-12)
    torch.testing.assert_close(posed.joints, joints, rtol=0, atol=1e-12)


def test_the_free_body_moves_as_smplx_moves_it() -> None:
    body = load_body()
    rotvecs, betas = random_rotvecs(3).float(), random_betas(3, body)
    with torch.no_grad():
        output = smplx_model(body)(
            betas=betas, global_orient=rotvecs[:, 0], body_pose=rotvecs[:, 1:].flatten(1)
        )
        posed = skin(body, rotvec_to_rotmat(rotvecs), betas)
    torch.testing.assert_close(posed.vertices, output.vertices, rtol=0, atol=1e-5)
    torch.testing.assert_close(posed.joints, output.joints[:, :24], rtol=0, atol=1e-5)


def test_a_body_at_rest_is_its_shaped_template() -> None:
    body = random_body()
    betas = random_betas(3, body)
    identity = torch.eye(3, dtype=torch.float64).expand(3, 24, 3, 3)
    posed = skin(body, identity, betas)
    for person in range(3):
        shaped = body.v_template.clone()
        for beta, displacement in zip(betas[person], body.shapedirs.unbind(-1), strict=True):
            shaped += beta * displacement
        torch.testing.assert_close(posed.vertices[person], shaped, rtol=0, atol=1e-12)
        joints = body.joint_regressor @ shaped
        torch.testing.assert_close(posed.joints[person], joints, rtol=0, atol=1e-12)
        torch.testing.assert_close(rest_joints(body, betas)[person], joints, rtol=0, atol=1e-12)


def test_turning_the_root_turns_everything_about_the_pelvis() -> None:
    body = random_body()
    rotations, betas = random_rotations(4, body), random_betas(4, body)
    turn = rotvec_to_rotmat(torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64))
    turned_rotations = rotations.clone()
    turned_rotations[:, 0] = turn @ rotations[:, 0]
    pelvis = rest_joints(body, betas)[:, :1]
    before, after = skin(body, rotations, betas), skin(body, turned_rotations, betas)
    for was, now in zip(before, after, strict=True):
        torch.testing.assert_close(now, (was - pelvis) @ turn.T + pelvis, rtol=0, atol=1e-12)


def test_moving_the_template_moves_the_posed_body_with_it() -> None:
    body = random_body()
    shift = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    arrays = {name: value for name, value in vars(body).items() if not name.startswith("joint_")}
    moved = Body(
        **arrays | {"v_template": body.v_template + shift}, joint_regressor=body.joint_regressor
    )
    rotations, betas = random_rotations(2, body), random_betas(2, body)
    for was, now in zip(skin(body, rotations, betas), skin(moved, rotations, betas), strict=True):
        torch.testing.assert_close(now, was + shift, rtol=0, atol=1e-12)


def test_bones_keep_their_lengths() -> None:
    body = random_body()
    betas = random_betas(4, body)
    rest = rest_joints(body, betas)
    joints = pose_skeleton(body, random_rotations(4, body), betas).joints
    parents = list(body.parents[1:])
    lengths = [(points[:, 1:] - points[:, parents]).norm(dim=-1) for points in (rest, joints)]
    torch.testing.assert_close(lengths[1], lengths[0])


def test_skinning_in_two_parts_is_skinning() -> None:
    body = random_body()
    rotations, betas = random_rotations(3, body), random_betas(3, body)
    pose = pose_skeleton(body, rotations, betas)
    posed = skin(body, rotations, betas)
    assert torch.equal(skin_vertices(body, pose), posed.vertices)
    assert torch.equal(pose.joints, posed.joints)
    # The transforms carry each rest joint to its posed place.
    rest = rest_joints(body, betas)
    carried = (pose.transforms[..., :3] @ rest[..., None])[..., 0] + pose.transforms[..., 3]
    torch.testing.assert_close(carried, posed.joints)


def test_a_person_is_posed_alone() -> None:
    body = random_body()
    rotations, betas = random_rotations(3, body), random_betas(3, body)
    together = skin(body, rotations, betas)
    for person in range(3):
        alone = skin(body, rotations[person : person + 1], betas[person : person + 1])
        torch.testing.assert_close(alone.vertices[0], together.vertices[person])
    assert skin(body, rotations[:0], betas[:0]).vertices.shape == (0, 60, 3)


def test_gradcheck() -> None:
    body = random_body(vertices=7, betas=3)
    # Off the rotations too: the networks' gradients pass through matrices.
    rotations = random_rotations(2, body) + 0.01
    given = (rotations.requires_grad_(), random_betas(2, body).requires_grad_())
    assert torch.autograd.gradcheck(lambda *g: tuple(skin(body, *g)), given, fast_mode=True)


def test_gradgradcheck_of_the_skeleton() -> None:
    body = random_body(vertices=7, betas=3)
    given = (random_rotations(1, body).requires_grad_(), random_betas(1, body).requires_grad_())
    assert torch.autograd.gradgradcheck(
        lambda *g: pose_skeleton(body, *g).joints, given, fast_mode=True
    )


@pytest.mark.parametrize(
    ("rotations", "betas", "message"),
    [
        ((2, 23, 3, 3), (2, 10), r"rotations have shape \(2, 23, 3, 3\), expected \(N, 24, 3, 3\)"),
        ((2, 24, 3), (2, 10), r"rotations have shape \(2, 24, 3\)"),
        ((24, 3, 3), (10,), r"rotations have shape \(24, 3, 3\)"),
        ((2, 24, 3, 3), (2, 9), r"betas have shape \(2, 9\), expected \(2, 10\) for 2 persons"),
        ((2, 24, 3, 3), (1, 10), r"betas have shape \(1, 10\), expected \(2, 10\)"),
        ((2, 24, 3, 3), (10,), r"betas have shape \(10,\), .* body 'random'"),
    ],
)
def test_wrong_shapes(rotations: tuple[int, ...], betas: tuple[int, ...], message: str) -> None:
    body = random_body()
    for compute in (skin, pose_skeleton):
        with pytest.raises(ValueError, match=message):
            compute(body, torch.zeros(rotations).double(), torch.zeros(betas).double())
