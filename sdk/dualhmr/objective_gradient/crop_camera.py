"""Points and the network's camera -> where they are seen in the crop, and gradients back.

Both camera conventions place the body at a translation that depends on the scale s, x and y as

    t = (x, y, 0) + o / (a s + e),

o and a being constant for a person; in a, pixels per unit of scale, and o they differ. A placed
point p = k + t is then seen at f (p_x, p_y) / p_z + c, in crop coordinates. Backward, with
h = grad of (p_x, p_y) / p_z,

    grad p = (h, -h . (p_x, p_y) / p_z) / p_z,    grad t = sum over points of grad p,
    grad (x, y) = first two of grad t,    grad s = -a / (a s + e) (o / (a s + e)) . grad t.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.camera import (
    CROP_HEIGHT,
    FullCamera,
    View,
    cliff_camera,
    half_crop,
    hmr_camera,
    image_to_crop,
)

Convention = Callable[[Tensor, View], FullCamera]

_TINY = 1e-9
"""e, as in `dualhmr.camera`."""


class Seen(NamedTuple):
    """K points of N persons as the camera sees them."""

    in_crop: Tensor
    """(N, K, 2) normalised crop coordinates."""
    in_plane: Tensor
    """(N, K, 2): (p_x, p_y) / p_z."""
    inverse_depth: Tensor
    """(N, K, 1): 1 / p_z, 1 / metres."""
    inverse_scale: Tensor
    """(N, 1): 1 / (a s + e)."""


class CropCamera:
    """How N persons are seen, all that is constant about it computed once."""

    def __init__(self, convention: Convention, view: View) -> None:
        """Reads the constants off `convention`, one of `dualhmr.camera.CAMERAS`, at scale 1."""
        per_scale = _pixels_per_scale(convention, view)[:, None]
        unit = torch.cat([torch.ones_like(per_scale), torch.zeros_like(view.box_center)], dim=1)
        camera = convention(unit, view)
        self._per_scale = per_scale
        """(N, 1): a."""
        self._offset = camera.translation * (per_scale + _TINY)
        """(N, 3): o."""
        self._magnification = (camera.focal_length[:, None] / half_crop(view.box_height))[:, None]
        """(N, 1, 2): f."""
        self._center = image_to_crop(camera.principal_point[:, None], view)
        """(N, 1, 2): c."""

    def forward(self, points: Tensor, camera: Tensor) -> Seen:
        """Points (N, K, 3) in metres and (scale, x, y) (N, 3) -> where they are seen."""
        scale, shift = camera.split([1, 2], dim=1)
        inverse_scale = 1 / (self._per_scale * scale + _TINY)
        shift = torch.cat([shift, torch.zeros_like(scale)], dim=1)
        translation = self._offset * inverse_scale + shift
        sideways, depth = (points + translation[:, None]).split([2, 1], dim=-1)
        inverse_depth = 1 / depth
        in_plane = sideways * inverse_depth
        in_crop = in_plane * self._magnification + self._center
        return Seen(in_crop, in_plane, inverse_depth, inverse_scale)

    def backward(self, seen: Seen, grad_in_crop: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of points (N, K, 3) and camera (N, 3) from that of the crop's (N, K, 2)."""
        grad_sideways = grad_in_crop * self._magnification * seen.inverse_depth
        grad_depth = -(grad_sideways * seen.in_plane).sum(-1, keepdim=True)
        grad_points = torch.cat([grad_sideways, grad_depth], dim=-1)
        grad_translation = grad_points.sum(1)
        rate = -self._per_scale * seen.inverse_scale * seen.inverse_scale * self._offset
        grad_scale = (rate * grad_translation).sum(1, keepdim=True)
        return grad_points, torch.cat([grad_scale, grad_translation[:, :2]], dim=1)


def _pixels_per_scale(convention: Convention, view: View) -> Tensor:
    """How many pixels - the image's for CLIFF, the crop's for HMR - two metres have at scale 1."""
    if convention is cliff_camera:
        return view.box_height
    if convention is hmr_camera:
        return torch.full_like(view.box_height, CROP_HEIGHT)
    raise ValueError(f"the gradient of camera convention {convention} has not been derived")
