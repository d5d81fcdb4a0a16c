"""Person boxes, crops and cameras, in CLIFF's and HMR's conventions.

Image coordinates are pixels, x right and y down, with (0, 0) the centre of the top-left pixel.
Crop coordinates are normalised: [-1, 1] across the crop in both axes. The camera frame is x right,
y down, z forward, in metres. Every function takes any leading dimensions (`...`, usually persons),
and arrays of NumPy or of PyTorch.

Sources: CLIFF (Li et al., ECCV 2022) for box info and the full-image camera; HMR (Kanazawa et al.,
CVPR 2018) for the crop camera with a focal length of 5000.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dualhmr.arguments import finite_number, shown
from dualhmr.arrays import Array, library_of


class CropSize(NamedTuple):
    """Pixels of a crop."""

    height: int
    width: int


CROP_SIZE = CropSize(height=256, width=192)
"""Of every crop convention that says no other."""
CROP_HEIGHT, CROP_WIDTH = CROP_SIZE
BOX_MARGIN = 1.2
HMR_FOCAL_LENGTH = 5000.0
SCALE_FLOOR = 1e-9
"""Pixels, added to a scale in pixels before a division by it."""


class View(NamedTuple):
    """A person's box and the camera of the image: all that is known before a network runs."""

    box_center: Array
    """(..., 2) image pixels."""
    box_height: Array
    """(...) image pixels; the box has the aspect ratio of the crop."""
    focal_length: Array
    """(...) image pixels."""
    principal_point: Array
    """(..., 2) image pixels."""


class FullCamera(NamedTuple):
    """A pinhole camera of the whole image, and the person's position in its frame."""

    translation: Array
    """(..., 3) metres, added to the body in its own frame."""
    focal_length: Array
    """(...) image pixels."""
    principal_point: Array
    """(..., 2) image pixels."""


def default_focal_length(width: int, height: int) -> float:
    """The image's diagonal in pixels: CLIFF's guess (a field of view of 53 degrees across it)."""
    return float((width**2 + height**2) ** 0.5)


def hmr2_focal_length(width: int, height: int) -> float:
    """HMR2.0's guess in pixels: its crops' focal length, with the longer side in place of 256."""
    return HMR_FOCAL_LENGTH / CROP_HEIGHT * max(width, height)


FOCAL_LENGTHS: dict[str, Callable[[int, int], float]] = {
    "diagonal": default_focal_length,
    "hmr2": hmr2_focal_length,
}
"""Guesses for an image of a width and a height, by the names that manifests have for them."""


def image_center(width: int, height: int) -> tuple[float, float]:
    """The default principal point: half the size, as in CLIFF."""
    return width / 2, height / 2


# Shares of the image's longer side: a fisheye lens, and a telescope.
_FOCAL_LENGTH_SHARES = (0.2, 100.0)


def image_camera(
    width: int,
    height: int,
    focal_length: float | None,
    principal_point: tuple[float, float] | None,
    *,
    default: str = "diagonal",
) -> tuple[float, tuple[float, float]]:
    """Focal length and principal point in pixels: the user's, or guesses.

    `default` is one of `FOCAL_LENGTHS`, the guess of the networks' authors. Raises ValueError for
    what no camera has.
    """
    if focal_length is None:
        focal_length = FOCAL_LENGTHS[default](width, height)
    if principal_point is None:
        principal_point = image_center(width, height)
    focal_length = finite_number("focal_length", focal_length, "a number of pixels")
    low, high = (share * max(width, height) for share in _FOCAL_LENGTH_SHARES)
    if not low <= focal_length <= high:
        raise ValueError(
            f"focal_length is {focal_length:g}, expected {low:.0f} to {high:.0f} for an image of "
            f"{width}x{height}: pixels, not millimetres. From millimetres: focal length / sensor "
            "width x image width"
        )
    if isinstance(principal_point, str) or np.shape(principal_point) != (2,):
        raise ValueError(f"principal_point is {shown(principal_point)}, expected (x, y) in pixels")
    x, y = (finite_number("principal_point", each, "(x, y) in pixels") for each in principal_point)
    if not (-width <= x <= 2 * width and -height <= y <= 2 * height):
        raise ValueError(
            f"principal_point is ({x:g}, {y:g}), far outside of the {width}x{height} image; "
            "expected (x, y) in its pixels"
        )
    return focal_length, (x, y)


def keypoint_box(
    keypoints_px: Array,
    confidence: Array,
    *,
    size: CropSize = CROP_SIZE,
    margin: float = BOX_MARGIN,
) -> tuple[Array, Array]:
    """Centre (..., 2) and height (...) in pixels of the box around the labelled keypoints.

    `keypoints_px` (..., K, 2); those with `confidence` (..., K) zero are ignored. The box has the
    aspect ratio of a crop of `size`, and is `margin` times the least one around the keypoints.
    Without labelled keypoints the centre is NaN, and with a single one the height is zero.
    """
    library = library_of(keypoints_px)
    labelled = (confidence > 0)[..., None]
    low = library.amin(library.where(labelled, keypoints_px, math.inf), -2)
    high = library.amax(library.where(labelled, keypoints_px, -math.inf), -2)
    width, height = high[..., 0] - low[..., 0], high[..., 1] - low[..., 1]
    box_height = library.maximum(width * (size.height / size.width), height) * margin
    return (low + high) / 2, box_height


def box_info(view: View) -> Array:
    """CLIFF's three numbers (..., 3): the box's centre and height, in units of the focal length.

    The constants are those of CLIFF's released code. They bring the numbers to about [-1, 1].
    """
    focal = view.focal_length
    offset = (view.box_center - view.principal_point) / focal[..., None] * 2.8
    height = (view.box_height - 0.24 * focal) / (0.06 * focal)
    return library_of(height).concatenate([offset, height[..., None]], -1)


def half_crop(box_height: Array, size: CropSize = CROP_SIZE) -> Array:
    """Half the width and height (..., 2), in image pixels, of a box for crops of `size`."""
    width = box_height * (size.width / size.height)
    return library_of(box_height).stack([width, box_height], -1) / 2


def image_to_crop(points_px: Array, view: View, size: CropSize = CROP_SIZE) -> Array:
    """Image pixels (..., K, 2) -> normalised coordinates (..., K, 2) of crops of `size`."""
    center = view.box_center[..., None, :]
    return (points_px - center) / half_crop(view.box_height, size)[..., None, :]


def project(points: Array, camera: FullCamera) -> Array:
    """Points (..., K, 3) in the body's own frame, metres -> image pixels (..., K, 2)."""
    placed = points + camera.translation[..., None, :]
    in_plane = placed[..., :2] / placed[..., 2:]
    return in_plane * camera.focal_length[..., None, None] + camera.principal_point[..., None, :]


def cliff_camera(crop_camera: Array, view: View, _size: CropSize = CROP_SIZE) -> FullCamera:
    """The network's (scale, x, y) (..., 3) -> the full-image camera of CLIFF.

    A scale of 1 makes the box 2 m high at the person's depth, whatever the size of the crop.
    """
    scale, x, y = (crop_camera[..., number] for number in range(3))
    # At depth z a box of h pixels is h z / f metres high. HMR's scale makes it 2 / scale metres, so
    # z = 2 f / (h scale), and its centre lies (box_center - principal_point) z / f off the axis.
    pixels_per_two_metres = view.box_height * scale + SCALE_FLOOR
    center = 2 * (view.box_center - view.principal_point) / pixels_per_two_metres[..., None]
    depth = 2 * view.focal_length / pixels_per_two_metres
    translation = [x + center[..., 0], y + center[..., 1], depth]
    return FullCamera(
        library_of(depth).stack(translation, -1), view.focal_length, view.principal_point
    )


def hmr_camera(crop_camera: Array, view: View, size: CropSize = CROP_SIZE) -> FullCamera:
    """The network's (scale, x, y) (..., 3) -> the camera of HMR, written as one of the full image.

    HMR's camera is that of the crop of `size`, with a focal length of 5000 crop pixels through the
    crop's centre. In image pixels its principal point is the box's centre and its focal length
    grows with the box. The view's focal length and principal point are not used.
    """
    scale, x, y = (crop_camera[..., number] for number in range(3))
    depth = 2 * HMR_FOCAL_LENGTH / (size.height * scale + SCALE_FLOOR)
    focal_length = HMR_FOCAL_LENGTH * view.box_height / size.height
    translation = library_of(depth).stack([x, y, depth], -1)
    return FullCamera(translation, focal_length, view.box_center)


CameraConvention = Callable[[Array, View, CropSize], FullCamera]

CAMERAS: dict[str, CameraConvention] = {
    "cliff": cliff_camera,
    "hmr": hmr_camera,
}


def project_to_crop(
    points: Array, camera: FullCamera, view: View, size: CropSize = CROP_SIZE
) -> Array:
    """Points (..., K, 3) in the body's own frame -> normalised crop coordinates (..., K, 2)."""
    return image_to_crop(project(points, camera), view, size)


class CropProjection(NamedTuple):
    """What is constant for a person while the network's camera (scale, x, y) changes.

    Both conventions place the body at a translation that depends on the scale s, x and y as

        t = (x, y, 0) + o / (a s + e),    e = `SCALE_FLOOR`,

    and project a point p = k + t to f (p_x, p_y) / p_z + c in normalised crop coordinates.
    """

    per_scale: Array
    """(N,): a, pixels - the image's for CLIFF, the crop's for HMR - of two metres at scale 1."""
    offset: Array
    """(N, 3): o."""
    magnification: Array
    """(N, 2): f."""
    center: Array
    """(N, 2): c."""


def crop_projection(
    convention: CameraConvention, view: View, size: CropSize = CROP_SIZE
) -> CropProjection:
    """Reads the constants off `convention`, one of `CAMERAS`, at scale 1."""
    library = library_of(view.box_height)
    if convention is cliff_camera:
        per_scale = view.box_height
    elif convention is hmr_camera:
        per_scale = library.full_like(view.box_height, size.height)
    else:
        raise ValueError(f"the gradient of camera convention {convention} has not been derived")
    ones = library.ones_like(per_scale)[:, None]
    unit = library.concatenate([ones, library.zeros_like(view.box_center)], 1)
    camera = convention(unit, view, size)
    return CropProjection(
        per_scale,
        camera.translation * (per_scale + SCALE_FLOOR)[:, None],
        camera.focal_length[:, None] / half_crop(view.box_height, size),
        image_to_crop(camera.principal_point[:, None], view, size)[:, 0],
    )
