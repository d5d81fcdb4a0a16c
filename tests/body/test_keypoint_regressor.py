import contextlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.fake_bodies import fake_smpl_arrays, fake_smpl_body, random_body
from smplx import SMPL
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body, load_body, skin
from dualhmr.body.point_regressors import keypoint_regressor, skeleton_regressor
from dualhmr.keypoints import KEYPOINT_SETS, KeypointSet
from dualhmr.rotations import rotvec_to_rotmat

# Where OpenPose's 25 keypoints stand among smplx's output joints (SPIN's convention).
OPENPOSE_OF_SMPLX = (
    *(24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7),
    *(25, 26, 27, 28, 29, 30, 31, 32, 33, 34),
)

SMPLX_NAMES = {
    "nose": "nose", "left_eye": "leye", "right_eye": "reye", "left_ear": "lear",
    "right_ear": "rear", "left_big_toe": "LBigToe", "left_small_toe": "LSmallToe",
    "left_heel": "LHeel", "right_big_toe": "RBigToe", "right_small_toe": "RSmallToe",
    "right_heel": "RHeel",
}  # fmt: skip


def at_rest(body: Body, keypoint_set: KeypointSet) -> dict[str, Tensor]:
    """The available keypoints of the mean body at rest."""
    regressor = keypoint_regressor(body, keypoint_set)
    points = regressor.from_mesh(body.v_template, body.joint_template)
    named = zip(regressor.names, points, regressor.available, strict=True)
    return {name: point for name, point, available in named if available}


@pytest.mark.parametrize("body", [load_body, fake_smpl_body], ids=["free", "smpl"])
@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("coco_17", set()),
        ("body_23", set()),
        ("body_25", set()),
        ("halpe_26", {"head_top"}),
        ("coco_wholebody_133", set(KEYPOINT_SETS["coco_wholebody_133"].names[23:])),
    ],
)
def test_which_keypoints_a_body_has(body: Any, name: str, lacks: set[str]) -> None:
    keypoint_set = KEYPOINT_SETS[name]
    regressor = keypoint_regressor(body(), keypoint_set)
    assert regressor.names == keypoint_set.names
    assert len(regressor.available) == len(keypoint_set)
    available = zip(regressor.names, regressor.available, strict=True)
    assert {name for name, there in available if not there} == lacks


@pytest.mark.parametrize("body", [load_body, fake_smpl_body], ids=["free", "smpl"])
def test_every_keypoint_moves_with_the_body(body: Any) -> None:
    regressor = keypoint_regressor(body(), KEYPOINT_SETS["coco_wholebody_133"])
    shares = regressor.joint_rows.sum(1) + regressor.vertex_rows.sum(1)
    torch.testing.assert_close(shares, regressor.available.float())


@pytest.mark.parametrize("body", [load_body, fake_smpl_body], ids=["free", "smpl"])
def test_a_keypoint_is_the_same_in_every_set(body: Any) -> None:
    loaded = body()
    largest = at_rest(loaded, KEYPOINT_SETS["coco_wholebody_133"])
    for keypoint_set in KEYPOINT_SETS.values():
        for name, point in at_rest(loaded, keypoint_set).items():
            if name in largest:
                torch.testing.assert_close(point, largest[name])


def test_neck_and_mid_hip_of_the_free_body_are_midpoints() -> None:
    points = at_rest(load_body(), KEYPOINT_SETS["body_25"])
    for middle, part in {"neck": "shoulder", "mid_hip": "hip"}.items():
        expected = (points[f"left_{part}"] + points[f"right_{part}"]) / 2
        torch.testing.assert_close(points[middle], expected)


def test_keypoints_of_the_free_body_are_where_a_person_has_them() -> None:
    body = load_body()
    points = at_rest(body, KEYPOINT_SETS["body_25"])
    joints = dict(zip(JOINT_NAMES, body.joint_template, strict=True))
    for name, point in points.items():
        if name.startswith("left_"):
            mirrored = points[name.replace("left", "right")] * torch.tensor([-1.0, 1.0, 1.0])
            assert (point - mirrored).norm() < 0.02, name
            assert point[0] > 0.01, name
        if name in joints:
            assert (point - joints[name]).norm() < 0.1, name
    assert abs(float(points["nose"][0])) < 0.01
    assert points["nose"][2] > points["left_ear"][2]
    assert points["left_eye"][1] > points["nose"][1] > points["left_shoulder"][1]
    assert points["left_big_toe"][2] > points["left_heel"][2]
    assert points["left_small_toe"][0] > points["left_big_toe"][0]


def test_vertices_of_smpl_are_those_of_smplx() -> None:
    regressor = keypoint_regressor(fake_smpl_body(), KEYPOINT_SETS["body_23"])
    for name, row in zip(regressor.names, regressor.vertex_rows, strict=True):
        expected = [vertex_ids["smplh"][SMPLX_NAMES[name]]] if name in SMPLX_NAMES else []
        assert row.nonzero().flatten().tolist() == expected, name


def test_keypoints_of_smpl_are_those_of_smplx_in_openpose_order() -> None:
    arrays = fake_smpl_arrays()
    options: dict[str, Any] = dict.fromkeys(
        ("create_betas", "create_body_pose", "create_global_orient", "create_transl"), False
    )
    with contextlib.redirect_stdout(io.StringIO()):
        table = arrays["kintree_table"].astype(np.int64)
        model = SMPL("", data_struct=Struct(**arrays | {"kintree_table": table}), **options)
    rng = np.random.default_rng(0)
    rotvecs = torch.from_numpy(rng.normal(0, 0.5, (2, 24, 3))).float()
    betas = torch.from_numpy(rng.normal(0, 1, (2, 10))).float()
    with torch.no_grad():
        joints = model(
            betas=betas, global_orient=rotvecs[:, 0], body_pose=rotvecs[:, 1:].flatten(1)
        ).joints
    body = fake_smpl_body()
    posed = skin(body, rotvec_to_rotmat(rotvecs), betas)
    regressor = keypoint_regressor(body, KEYPOINT_SETS["body_25"])
    found = regressor.from_mesh(posed.vertices, posed.joints)
    torch.testing.assert_close(found, joints[:, list(OPENPOSE_OF_SMPLX)], rtol=0, atol=1e-5)


def test_openpose_order_is_that_of_the_release(shared_folder: Any) -> None:
    readme = (shared_folder / "formats" / "README.md").read_text()
    assert f"OpenPose {', '.join(map(str, OPENPOSE_OF_SMPLX))};" in readme


def test_the_skeleton_as_points() -> None:
    body = random_body()
    regressor = skeleton_regressor(body)
    assert regressor.names == JOINT_NAMES
    assert torch.equal(
        regressor.from_mesh(body.v_template, body.joint_template), body.joint_template
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_in_the_precision_of_the_body(dtype: torch.dtype) -> None:
    coco = KEYPOINT_SETS["coco_17"]
    for body in (fake_smpl_body(dtype=dtype), load_body().to(dtype=dtype)):
        for regressor in (keypoint_regressor(body, coco), skeleton_regressor(body)):
            assert regressor.joint_rows.dtype == regressor.vertex_rows.dtype == dtype


def test_own_keypoints_count_more_than_the_topology() -> None:
    rows = torch.zeros(2, 6890)
    rows[0, 7] = rows[1, 8] = 1
    own = replace(fake_smpl_body(), keypoint_names=("nose", "tail"), keypoint_regressor=rows)
    regressor = keypoint_regressor(own, KEYPOINT_SETS["coco_17"])
    assert regressor.available.tolist() == [True] + [False] * 16
    assert regressor.vertex_rows[0].nonzero().tolist() == [[7]]
    # A set of one's own names.
    pets = keypoint_regressor(own, KeypointSet("pets", ("tail", "paw", "nose")))
    assert pets.available.tolist() == [True, False, True]


def test_half_of_a_midpoint_is_no_midpoint() -> None:
    body = random_body()
    own = replace(
        body, keypoint_names=("left_hip",), keypoint_regressor=torch.ones(1, 60).double() / 60
    )
    regressor = keypoint_regressor(own, KEYPOINT_SETS["body_25"])
    assert regressor.available.sum() == 1


def test_a_body_without_keypoints_and_of_another_mesh_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'random' has 60 vertices and 100 faces.*6890 vertices"):
        keypoint_regressor(random_body(), KEYPOINT_SETS["coco_17"])
    stripped = replace(load_body(), keypoint_names=(), keypoint_regressor=None)
    with pytest.raises(ValueError, match=r"'dualhmr-free-body' has \d+ vertices.*Add a keypoint_r"):
        keypoint_regressor(stripped, KEYPOINT_SETS["coco_17"])


@pytest.mark.parametrize("seed", range(3))
def test_a_reordered_mesh_is_refused(seed: int) -> None:
    body = fake_smpl_body()
    order = torch.randperm(6890, generator=torch.Generator().manual_seed(seed))
    shuffled = replace(body, v_template=body.v_template[order])
    with pytest.raises(ValueError, match="face and feet at other vertices"):
        keypoint_regressor(shuffled, KEYPOINT_SETS["coco_17"])


def test_smpl_elsewhere_and_a_little_lopsided_is_smpl() -> None:
    body = fake_smpl_body()
    noise = 0.005 * torch.randn(6890, 3, generator=torch.Generator().manual_seed(0))
    moved = body.v_template + noise + torch.tensor([3.0, -1.0, 2.0])
    keypoint_regressor(replace(body, v_template=moved), KEYPOINT_SETS["coco_17"])
