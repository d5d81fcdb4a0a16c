"""A person's annotations after the photograph was mirrored and turned.

The photograph is mirrored and turned about its principal point, which is what a camera does that
is itself mirrored, or rolls about its optical axis. So what was consistent stays so, exactly, for
a pinhole camera: keypoints, 3D joints, the orientation before the camera, and the view, whose box
goes along with the person. (The release turns the crop about its own centre and leaves the box
where it was in the photograph: the same crop and keypoints, but away from the optical axis neither
box info nor camera fit them any more.)

A mirrored person's left is the right: keypoints and joints change names, rotations are mirrored.
"""

import torch
from torch import Tensor

from dualhmr.body import JOINT_NAMES
from dualhmr.camera import View
from dualhmr.keypoints import BODY_25, SPIN_24, KeypointSet
from dualhmr.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from dualhmr_training.datasets.augmentation import Change

_SPIN = list(SPIN_24.flip_permutation())
KEYPOINT_MIRROR = [*BODY_25.flip_permutation(), *(len(BODY_25) + point for point in _SPIN)]
"""The rows of the 49 keypoints to take in a mirrored image."""
JOINT_3D_MIRROR = _SPIN
SMPL_MIRROR = list(KeypointSet("smpl_24", JOINT_NAMES).flip_permutation())


def changed_view(view: View, change: Change) -> View:
    """The box around the person in the changed photograph, with the box's own change of scale."""
    return View(
        changed_keypoints(view.box_center[None], view, change)[0],
        view.box_height * change.scale,
        view.focal_length,
        view.principal_point,
    )


def changed_keypoints(keypoints_px: Tensor, view: View, change: Change) -> Tensor:
    """Image pixels (K, 2) in the photograph that `view` is of -> in the changed one.

    The rows stay where they are, also of a mirrored person.
    """
    in_plane = torch.from_numpy(change.in_plane).to(keypoints_px)
    return (keypoints_px - view.principal_point) @ in_plane.mT + view.principal_point


def changed_joints(joints: Tensor, change: Change) -> Tensor:
    """Points (K, 3) before the camera -> before the changed one; rows stay where they are."""
    in_plane = torch.from_numpy(change.in_plane).to(joints)
    return torch.cat([joints[:, :2] @ in_plane.mT, joints[:, 2:]], dim=1)


def changed_rotvecs(rotvecs: Tensor, change: Change) -> Tensor:
    """SMPL's pose (24, 3) of a person -> of the person in the changed photograph."""
    if change.mirror:
        # A rotation seen in a mirror across x turns the other way, about the mirrored axis.
        rotvecs = rotvecs[SMPL_MIRROR] * rotvecs.new_tensor([1.0, -1.0, -1.0])
    if change.angle:
        roll = rotvec_to_rotmat(rotvecs.new_tensor([0.0, 0.0, change.angle]))
        orientation = rotmat_to_rotvec(roll @ rotvec_to_rotmat(rotvecs[0]))
        rotvecs = torch.cat([orientation[None], rotvecs[1:]])
    return rotvecs
