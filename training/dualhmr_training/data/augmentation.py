"""How a training crop is changed at random, as plain values, and one such change drawn."""

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
    """Mirror the photograph, turn it, take another box, tint it. The default changes nothing."""

    mirror: bool = False
    """Left and right, before turning."""
    angle: float = 0.0
    """Radians from x to y, which is clockwise as the image is seen."""
    scale: float = 1.0
    """Of the box."""
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
    """The defaults are those of SPIN and of the paper's release."""

    mirror: float = 0.5
    """Probability."""
    colour: float = 0.4
    """Each channel is multiplied by up to one more or less than this, uniformly."""
    angle_sigma_degrees: float = 30.0
    angle_limit_degrees: float = 60.0
    upright: float = 0.6
    """Probability of not turning at all."""
    scale_sigma: float = 0.25
    scale_limit: float = 0.25
    """Of one more or less."""
    occlusion: float = 0.5
    """Probability of pasted occluders, on data sets that are recorded indoors."""

    def draw(self, rng: np.random.Generator) -> Change:
        """One change at random; always takes the same number of draws from `rng`."""
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


# A person's annotations after the photograph was mirrored and turned.
#
# The photograph is mirrored and turned about its principal point, which is what a camera does that
# is itself mirrored, or rolls about its optical axis. So what was consistent stays so, exactly, for
# a pinhole camera: keypoints, 3D joints, the orientation before the camera, and the view, whose box
# goes along with the person. (The release turns the crop about its own centre and leaves the box
# where it was in the photograph: the same crop and keypoints, but away from the optical axis
# neither box info nor camera fit them any more.)
#
# A mirrored person's left is the right: keypoints and joints change names, rotations are mirrored.


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


_RADIUS = math.hypot(CROP_WIDTH, CROP_HEIGHT) / 2
"""Of the circle around the crop, in crop pixels: what a turned crop may show."""


def crop_changed(
    image: NDArray[np.uint8], box_center: NDArray[np.float64], box_height: float, change: Change
) -> NDArray[np.uint8]:
    """`image` (H, W, 3) -> the crop (256, 192, 3), mirrored and turned, of the scaled box.

    `box_center` (2,) and `box_height` are those in `image`, before the change. Without one this is
    `crop_person`. Colours are left alone, what lies outside of the image is black.
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
    """First shrunk upright, where every pixel counts, then turned at about the crop's own size.

    Pillow counts from the outer edge of the first pixel, so its centre is at one half.
    """
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


# Things in front of people, drawn at random, for data sets that have none.
#
# After Sarandi et al., "How robust is 3D human pose estimation to occlusion?" (2018). The paper's
# release pastes objects cut out of Pascal VOC; here they are drawn, so nobody has to bring them.


_MOST = 4
_HALF_SIZE = (0.04, 0.16)
"""Of an occluder's half-axes, in crop heights."""
_CORNERS = (4, 6, 40)
_PATCHES = 6
"""A texture has this many patches of colour along each side."""


def occlude(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of `crop` (H, W, 3) with one to four occluders anywhere on it."""
    height, width = crop.shape[:2]
    picture = Image.fromarray(crop)
    for _ in range(rng.integers(1, _MOST + 1)):
        center = rng.random(2) * (width, height)
        half_size = rng.uniform(*_HALF_SIZE, 2) * height
        outline = center + _outline(rng) * half_size @ _rotation(rng)
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon([(x, y) for x, y in outline.tolist()], fill=255)
        picture.paste(_texture(width, height, rng), mask=mask)
    return np.array(picture)


def _outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Corners (C, 2) on the unit circle: of a rhombus, a hexagon or nearly an ellipse."""
    angles = np.linspace(0, 2 * math.pi, rng.choice(_CORNERS), endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * math.pi)
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _texture(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Patches of colours around a common one, from plain to mottled."""
    contrast = rng.uniform(0, 80)
    patches = rng.uniform(0, 255, 3) + contrast * rng.standard_normal((_PATCHES, _PATCHES, 3))
    small = Image.fromarray(patches.clip(0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)
