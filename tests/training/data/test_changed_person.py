import pytest
import torch
from torch import Tensor

from dualhmr import load_body
from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import FullCamera, View, box_info, project
from dualhmr.keypoints import BODY_25, SPIN_24, KeypointSet
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.augmentation import (
    JOINT_3D_MIRROR,
    KEYPOINT_MIRROR,
    SMPL_MIRROR,
    UNCHANGED,
    Change,
    changed_joints,
    changed_keypoints,
    changed_rotvecs,
    changed_view,
)

BOTH = KeypointSet(
    "both",
    (*(f"open_{name}" for name in BODY_25.names), *(f"spin_{name}" for name in SPIN_24.names)),
)
CHANGES = [
    Change(angle=0.7),
    Change(mirror=True),
    Change(mirror=True, angle=-0.9, scale=1.2),
]
VIEW = View(
    torch.tensor([900.0, 210.0]).double(),
    torch.tensor(400.0).double(),
    torch.tensor(700.0).double(),
    torch.tensor([500.0, 380.0]).double(),
)
TRANSLATION = torch.tensor([1.9, -0.7, 3.1]).double()
"""Far from the optical axis and close by, where approximations show."""


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def rotvecs() -> Tensor:
    noise = 0.4 * torch.randn(24, 3, generator=torch.Generator().manual_seed(1)).double()
    noise[0] = torch.tensor([2.4, 0.5, -0.6])
    return noise


def points(body: Body, rotvecs: Tensor) -> tuple[Tensor, Tensor]:
    """Those of SPIN_24 that the body has, and its pelvis."""
    posed = skin(body, rotvec_to_rotmat(rotvecs)[None], torch.zeros(1, 10).double())
    found = keypoint_regressor(body, SPIN_24).from_mesh(posed.vertices, posed.joints)
    return found[0], posed.joints[0, 0]


def has(body: Body) -> Tensor:
    return keypoint_regressor(body, SPIN_24).available


def seen(joints: Tensor) -> Tensor:
    return project(joints, FullCamera(torch.zeros(3).double(), VIEW[2], VIEW[3]))


@pytest.mark.parametrize("change", CHANGES)
def test_joints_and_keypoints_stay_projections_of_each_other(change: Change) -> None:
    joints = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)).double() + TRANSLATION
    joints[:, 2].clamp_(min=0.5)
    expected = seen(changed_joints(joints, change))
    torch.testing.assert_close(changed_keypoints(seen(joints), VIEW, change), expected)


@pytest.mark.parametrize("change", CHANGES)
def test_the_pose_stays_the_one_that_is_seen(body: Body, rotvecs: Tensor, change: Change) -> None:
    before, pelvis = points(body, rotvecs)
    keypoints = changed_keypoints(seen(before + TRANSLATION), VIEW, change)
    keypoints = keypoints[JOINT_3D_MIRROR] if change.mirror else keypoints
    after, new_pelvis = points(body, changed_rotvecs(rotvecs, change))
    # The body turns about its pelvis, wherever that goes.
    place = changed_joints((pelvis + TRANSLATION)[None], change)[0] - new_pelvis
    error = (seen(after + place) - keypoints)[has(body)].norm(dim=-1)
    # The free body is symmetric to two millimetres: half a pixel at this distance.
    assert error.max() < (0.6 if change.mirror else 1e-6)


@pytest.mark.parametrize("change", CHANGES)
def test_the_pose_stays_that_of_the_3d_joints(body: Body, rotvecs: Tensor, change: Change) -> None:
    before, pelvis = points(body, rotvecs)
    joints = changed_joints(before - pelvis, change)
    joints = joints[JOINT_3D_MIRROR] if change.mirror else joints
    after, new_pelvis = points(body, changed_rotvecs(rotvecs, change))
    error = (after - new_pelvis - joints)[has(body)].norm(dim=-1)
    assert error.max() < (0.003 if change.mirror else 1e-9)


@pytest.mark.parametrize("change", CHANGES)
def test_the_box_goes_with_the_person_and_the_camera_stays(change: Change) -> None:
    view = changed_view(VIEW, change)
    center = changed_keypoints(VIEW.box_center[None], VIEW, change)[0]
    torch.testing.assert_close(view.box_center, center)
    assert view.box_height == 400 * change.scale
    assert view.focal_length == VIEW.focal_length
    assert torch.equal(view.principal_point, VIEW.principal_point)
    old, new = box_info(VIEW), box_info(view)
    torch.testing.assert_close(old[:2].norm(), new[:2].norm())


def test_nothing_changes_without_a_change(rotvecs: Tensor) -> None:
    places = torch.rand(24, 2).double()
    torch.testing.assert_close(changed_keypoints(places, VIEW, UNCHANGED), places)
    assert torch.equal(changed_joints(rotvecs, UNCHANGED), rotvecs)
    assert torch.equal(changed_rotvecs(rotvecs, UNCHANGED), rotvecs)
    assert all(torch.equal(*pair) for pair in zip(changed_view(VIEW, UNCHANGED), VIEW, strict=True))


def test_mirroring_twice_changes_nothing(rotvecs: Tensor) -> None:
    mirror = Change(mirror=True)
    assert torch.equal(changed_rotvecs(changed_rotvecs(rotvecs, mirror), mirror), rotvecs)
    assert torch.equal(changed_joints(changed_joints(rotvecs, mirror), mirror), rotvecs)
    for permutation in (KEYPOINT_MIRROR, JOINT_3D_MIRROR, SMPL_MIRROR):
        assert [permutation[row] for row in permutation] == list(range(len(permutation)))


def test_turning_back_changes_nothing(rotvecs: Tensor) -> None:
    there, back = Change(angle=0.8), Change(angle=-0.8)
    torch.testing.assert_close(changed_rotvecs(changed_rotvecs(rotvecs, there), back), rotvecs)


def test_mirrored_keypoints_are_the_other_sides() -> None:
    for row, name in enumerate(BOTH.names):
        kind, _, rest = name.partition("_")
        other = BOTH.names[KEYPOINT_MIRROR[row]].removeprefix(f"{kind}_")
        swapped = {"left": "right", "right": "left"}
        side, _, part = rest.partition("_")
        assert other == (f"{swapped[side]}_{part}" if side in swapped else rest)


def test_smpls_sides_are_swapped() -> None:
    # As in SMPL's own layout: hips 1, 2; knees 4, 5; ankles 7, 8; ...; hands 22, 23.
    pairs = [(1, 2), (4, 5), (7, 8), (10, 11), (13, 14), *((i, i + 1) for i in (16, 18, 20, 22))]
    expected = list(range(24))
    for left, right in pairs:
        expected[left], expected[right] = right, left
    assert expected == SMPL_MIRROR
