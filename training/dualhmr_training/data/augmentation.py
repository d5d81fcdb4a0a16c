"""Augmentation of licensed data: mirror, turn, scale and tint a person; paste occluders.

A photograph is mirrored and turned about its principal point. A camera that is mirrored, or that
rolls about its optical axis, does the same, so everything that was consistent stays consistent for
a pinhole camera: keypoints, 3D joints, the orientation in the camera frame, and the view, whose box
moves along with the person. (The release turns the crop about its own centre and leaves the box
where it was in the photograph. Crop and keypoints are the same, but away from the optical axis box
info and camera no longer fit them.)

In a mirror, left is right: keypoints and joints change names, and rotations are mirrored.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, View
from dualhmr.crop import crop_person
from dualhmr.keypoints import BODY_25, SPIN_24, KeypointSet
from dualhmr.rotations import rotmat_to_rotvec, rotvec_to_rotmat


@dataclass(frozen=True)
class Change:
    """One drawn augmentation. The default changes nothing."""

    mirror: bool = False
    """Whether left and right are swapped, before turning."""
    angle: float = 0.0
    """Radians from x to y, which is clockwise in the image."""
    scale: float = 1.0
    """Factor of the box's size."""
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of red, green and blue."""

    @property
    def in_plane(self) -> NDArray[np.float64]:
        """The (2, 2) matrix that turns and mirrors offsets in the image."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        side = -1.0 if self.mirror else 1.0
        return np.array([[cosine * side, -sine], [sine * side, cosine]])


UNCHANGED = Change()


@dataclass(frozen=True)
class Augmentation:
    """Distributions of changes. The defaults are those of SPIN and the paper's release."""

    mirror: float = 0.5
    """Probability."""
    colour: float = 0.4
    """Each channel is multiplied by a uniform factor between 1 - this and 1 + this."""
    angle_sigma_degrees: float = 30.0
    angle_limit_degrees: float = 60.0
    upright: float = 0.6
    """Probability of not turning at all."""
    scale_sigma: float = 0.25
    scale_limit: float = 0.25
    """The factor is between 1 - this and 1 + this."""
    occlusion: float = 0.5
    """Probability of pasted occluders, on data sets recorded indoors."""

    def draw(self, rng: np.random.Generator) -> Change:
        """Draws one change; the number of draws from `rng` is always the same."""
        mirror, upright = rng.random(2) < (self.mirror, self.upright)
        red, green, blue = 1 + self.colour * rng.uniform(-1, 1, 3)
        angle_normal, scale_normal = rng.standard_normal(2)
        limit = self.angle_limit_degrees
        angle = np.clip(angle_normal * self.angle_sigma_degrees, -limit, limit)
        scale = np.clip(scale_normal * self.scale_sigma, -self.scale_limit, self.scale_limit)
        return Change(
            mirror=bool(mirror),
            angle=0.0 if upright else math.radians(angle),
            scale=1 + float(scale),
            colour=(float(red), float(green), float(blue)),
        )


_SPIN = list(SPIN_24.flip_permutation())
KEYPOINT_MIRROR = [*BODY_25.flip_permutation(), *(len(BODY_25) + point for point in _SPIN)]
"""For each of the 49 keypoints of a mirrored image, the row it had in the original."""
JOINT_3D_MIRROR = _SPIN
"""The same for the 24 3D joints."""
SMPL_MIRROR = list(KeypointSet("smpl_24", JOINT_NAMES).flip_permutation())
"""The same for SMPL's 24 joints."""


def mirrored_pose(rotvecs: Tensor) -> Tensor:
    """SMPL's pose (..., 24, 3) -> the pose of the person in a mirror across x."""
    # Mirroring x turns a rotation by a about (x, y, z) into one by -a about (-x, y, z).
    return rotvecs[..., SMPL_MIRROR, :] * rotvecs.new_tensor([1.0, -1.0, -1.0])


def changed_view(view: View, change: Change) -> View:
    """The view of the person in the changed photograph, with the box scaled."""
    return View(
        changed_keypoints(view.box_center[None], view, change)[0],
        view.box_height * change.scale,
        view.focal_length,
        view.principal_point,
    )


def changed_keypoints(keypoints_px: Tensor, view: View, change: Change) -> Tensor:
    """Image pixels (K, 2) in the photograph of `view` -> in the changed photograph.

    Rows keep their order; see `KEYPOINT_MIRROR` for their new names.
    """
    in_plane = torch.from_numpy(change.in_plane).to(keypoints_px)
    return (keypoints_px - view.principal_point) @ in_plane.mT + view.principal_point


def changed_joints(joints: Tensor, change: Change) -> Tensor:
    """Points (K, 3) in the camera frame -> in the changed camera's frame; rows keep their order."""
    in_plane = torch.from_numpy(change.in_plane).to(joints)
    return torch.cat([joints[:, :2] @ in_plane.mT, joints[:, 2:]], dim=1)


def changed_rotvecs(rotvecs: Tensor, change: Change) -> Tensor:
    """SMPL's pose (24, 3) -> the pose in the changed photograph."""
    if change.mirror:
        rotvecs = mirrored_pose(rotvecs)
    if change.angle:
        roll = rotvec_to_rotmat(rotvecs.new_tensor([0.0, 0.0, change.angle]))
        orientation = rotmat_to_rotvec(roll @ rotvec_to_rotmat(rotvecs[0]))
        rotvecs = torch.cat([orientation[None], rotvecs[1:]])
    return rotvecs


# Radius in crop pixels of the circle around a crop: the part of the image that any turn may show.
_RADIUS = math.hypot(CROP_WIDTH, CROP_HEIGHT) / 2


def crop_changed(
    image: NDArray[np.uint8], box_center: NDArray[np.float64], box_height: float, change: Change
) -> NDArray[np.uint8]:
    """`image` (H, W, 3) -> the crop (256, 192, 3), mirrored and turned, of the scaled box.

    `box_center` (2,) and `box_height` are those in `image`, before the change. Colours do not
    change; pixels outside the image are black. Without a change the result is `crop_person`'s.
    """
    height = box_height * change.scale
    if not change.angle:
        crop = crop_person(image, box_center, height)
        return np.ascontiguousarray(crop[:, ::-1]) if change.mirror else crop
    return _turned(image, box_center, height, change.in_plane)


def _turned(
    image: NDArray[np.uint8],
    center: NDArray[np.float64],
    height: float,
    in_plane: NDArray[np.float64],
) -> NDArray[np.uint8]:
    # Bilinear `transform` samples four pixels only, which would alias a large photograph. So the
    # part around the box is first shrunk upright to about the crop's resolution, with all pixels
    # averaged, and then turned. Pillow's coordinates begin at the outer edge of the first pixel,
    # whose centre is therefore at 0.5.
    scale = height / CROP_HEIGHT
    size = np.array([image.shape[1], image.shape[0]])
    reach = _RADIUS * scale + 2 * max(scale, 1.0)
    low = np.clip(np.floor(center + 0.5 - reach), 0, size).astype(int)
    high = np.clip(np.ceil(center + 0.5 + reach), 0, size).astype(int)
    if (high <= low).any():
        return np.zeros((CROP_HEIGHT, CROP_WIDTH, 3), np.uint8)
    part = Image.fromarray(image[low[1] : high[1], low[0] : high[0]])
    shrunk = np.maximum(1, np.rint((high - low) / max(scale, 1.0))).astype(int)
    if scale > 1:
        part = part.resize((int(shrunk[0]), int(shrunk[1])), Image.Resampling.BILINEAR)
    per_pixel = shrunk / (high - low)
    # The inverse of a mirroring rotation is its transpose.
    linear = per_pixel[:, None] * in_plane.T * scale
    offset = per_pixel * (center + 0.5 - low) - linear @ [CROP_WIDTH / 2, CROP_HEIGHT / 2]
    affine = np.column_stack([linear, offset]).ravel()
    turned = part.transform(
        (CROP_WIDTH, CROP_HEIGHT),
        Image.Transform.AFFINE,
        data=affine.tolist(),
        resample=Image.Resampling.BILINEAR,
    )
    return np.array(turned)


_MAX_OCCLUDERS = 4
_HALF_SIZE = (0.04, 0.16)  # range of an occluder's half-axes, in crop heights
_CORNERS = (4, 6, 40)  # a rhombus, a hexagon, or nearly an ellipse
_PATCHES = 6  # patches of colour along each side of a texture


def occlude(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pastes one to four occluders anywhere on a copy of `crop` (H, W, 3).

    After Sarandi et al., "How robust is 3D human pose estimation to occlusion?" (2018). The paper's
    release pastes objects cut out of Pascal VOC; here they are drawn, so no other data is needed.
    """
    height, width = crop.shape[:2]
    picture = Image.fromarray(crop)
    for _ in range(rng.integers(1, _MAX_OCCLUDERS + 1)):
        center = rng.random(2) * (width, height)
        half_size = rng.uniform(*_HALF_SIZE, 2) * height
        corners = np.linspace(0, 2 * math.pi, rng.choice(_CORNERS), endpoint=False)
        unit = np.stack([np.cos(corners), np.sin(corners)], axis=1)
        angle = rng.uniform(0, 2 * math.pi)
        turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        outline = center + unit * half_size @ np.array(turn)
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon([(x, y) for x, y in outline.tolist()], fill=255)
        picture.paste(_texture(width, height, rng), mask=mask)
    return np.array(picture)


def _texture(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Smooth patches around a random colour, from plain to strongly mottled."""
    contrast = rng.uniform(0, 80)
    patches = rng.uniform(0, 255, 3) + contrast * rng.standard_normal((_PATCHES, _PATCHES, 3))
    small = Image.fromarray(patches.clip(0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)
