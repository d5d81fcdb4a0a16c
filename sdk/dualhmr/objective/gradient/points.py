"""From a posed skeleton to what losses compare: points, vertices, and keypoints in the crop.

Each class is a stage: `forward` returns what `backward` reads.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.body.model import Body
from dualhmr.camera import CROP_SIZE, SCALE_FLOOR, CameraConvention, CropSize, View, crop_projection
from dualhmr.objective.objective import Objective


class PlacedPoints(NamedTuple):
    """The points of N persons, and the P pairs that make them."""

    points: Tensor
    """(N, K, 3) metres."""
    places: Tensor
    """(N, P, 4): (m, a)."""
    movers: Tensor
    """(N, P, 3, 4): the transform that moves each pair."""


class Points:
    """The keypoints of an objective, then its 3D joints centred between its two roots; no mesh.

    A point on the skin is a sum over the few joints that move it (see `dualhmr.body.points`),

        k = sum_j [G_j | t_j] (m_j, a_j),

    with m_j linear in the blend weights and a_j constant. (m_j, a_j) is the *place* of the pair of
    point and joint, four numbers; `blend @ basis` gives all places. A joint of the skeleton is such
    a pair too, with the place (rest, 1). Centring is linear and is part of the rows that add up
    pairs. So points = rows @ moved with moved_p = T_j(p) place_p, and backward

        grad moved = rows^T grad points,
        grad T_j = sum over the pairs of j of grad moved_p place_p^T,
        grad place_p = T_j(p)^T grad moved_p.
    """

    def __init__(self, objective: Objective) -> None:
        """Takes the collapsed regressor apart into pairs."""
        pairs = objective.body_points.pairs()
        skeleton = torch.arange(JOINT_COUNT, device=pairs.joints.device)
        self.joints = torch.cat([skeleton, pairs.joints])
        """(P,): the joint of each pair."""
        self._of_joint = (skeleton[:, None] == self.joints).to(pairs.basis)
        """(24, P): 1 where the pair is the joint's."""
        share = torch.zeros_like(pairs.basis[..., :1])
        share[0, :, 0] = pairs.share
        on_skin = torch.cat([pairs.basis, share], dim=-1)
        basis = torch.cat([_rest_basis(objective.body), on_skin], dim=1)
        self.basis = basis.flatten(1)
        """(1 + B + 207, P x 4)."""
        rows = torch.cat([pairs.joint_rows, pairs.pair_rows], dim=1)
        keypoints, joints = rows.split([len(objective.available), len(objective.joints_available)])
        joints = joints - joints[list(objective.root)].mean(0)
        self.rows = torch.cat([keypoints, joints])
        """(K, P)."""

    def forward(self, transforms: Tensor, blend: Tensor) -> PlacedPoints:
        """Transforms (N, 24, 3, 4) and blend weights (N, 1 + B + 207) -> points (N, K, 3)."""
        places = (blend @ self.basis).unflatten(1, (-1, 4))
        movers = transforms.index_select(1, self.joints)
        moved = (movers @ places[..., None])[..., 0]
        return PlacedPoints(self.rows @ moved, places, movers)

    def backward(self, placed: PlacedPoints, grad_points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of transforms (N, 24, 3, 4) and blend weights from the points' (N, K, 3)."""
        grad_moved = (self.rows.T @ grad_points)[..., None]
        grad_movers = grad_moved * placed.places[..., None, :]
        grad_transforms = (self._of_joint @ grad_movers.flatten(2)).unflatten(2, (3, 4))
        grad_places = (placed.movers.mT @ grad_moved).flatten(1)
        return grad_transforms, grad_places @ self.basis.T


def _rest_basis(body: Body) -> Tensor:
    """(1 + B + 207, 24, 4): the places of the skeleton's joints, (rest joint, 1)."""
    basis = body.v_template.new_zeros(1 + body.beta_count + body.posedirs.shape[-1], JOINT_COUNT, 4)
    basis[0, :, :3] = body.joint_template
    basis[0, :, 3] = 1
    basis[1 : 1 + body.beta_count, :, :3] = body.joint_directions.permute(2, 0, 1)
    return basis


class Skinned(NamedTuple):
    """The skin of N persons; metres."""

    vertices: Tensor
    """(N, 3, V) posed."""
    rest: Tensor
    """(N, 3, V): x."""
    movers: Tensor
    """(N, 3, 4, V): [G | t]."""


class Vertices:
    """The vertices of one body, by linear blend skinning.

    A vertex rests at x_v, linear in the blend weights, and is moved by a mixture of the joints'
    transforms, [G_v | t_v] = sum_j w_vj T_j, to y_v = G_v x_v + t_v. Backward, with g_v = grad y_v,

        grad x_v = G_v^T g_v,    grad T_j = sum_v w_vj g_v (x_v, 1)^T.

    The basis of x is the one large matrix of a body, and reading it twice is most of the work.
    Vertices come last in every tensor, a plane for each coordinate, so memory is read in order.
    """

    def __init__(self, body: Body) -> None:
        """Merges the blend shapes, once for a body."""
        self._basis = body.blend_shapes.flatten(1)
        """(1 + B + 207, 3 x V)."""
        self._weights = body.weights

    def forward(self, transforms: Tensor, blend: Tensor) -> Skinned:
        """Transforms (N, 24, 3, 4) and blend weights (N, 1 + B + 207) -> the skin."""
        rest = (blend @ self._basis).unflatten(1, (3, -1))
        movers = (transforms.flatten(2).mT @ self._weights.T).unflatten(1, (3, 4))
        turned = (movers[:, :, :3] * rest[:, None]).sum(2)
        return Skinned(turned + movers[:, :, 3], rest, movers)

    def backward(self, skinned: Skinned, grad_vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of transforms (N, 24, 3, 4) and blend weights from the vertices' (N, 3, V)."""
        grad = grad_vertices[:, :, None]
        grad_movers = torch.cat([grad * skinned.rest[:, None], grad], dim=2)
        grad_transforms = (grad_movers.flatten(1, 2) @ self._weights).mT.unflatten(2, (3, 4))
        grad_rest = (skinned.movers[:, :, :3] * grad).sum(1)
        return grad_transforms, grad_rest.flatten(1) @ self._basis.T


class ProjectedPoints(NamedTuple):
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
    """The cameras of N persons, by the constants of `CropProjection`.

    Backward, with h the gradient of (p_x, p_y) / p_z,

        grad p = (h, -h . (p_x, p_y) / p_z) / p_z,    grad t = sum over points of grad p,
        grad (x, y) = first two of grad t,    grad s = -a / (a s + e) (o / (a s + e)) . grad t.
    """

    def __init__(
        self, convention: CameraConvention, view: View, size: CropSize = CROP_SIZE
    ) -> None:
        """Computes the constants of `convention`, one of `dualhmr.camera.CAMERAS`."""
        constants = crop_projection(convention, view, size)
        self._per_scale = constants.per_scale[:, None]
        """(N, 1): a."""
        self._offset = constants.offset
        """(N, 3): o."""
        self._magnification = constants.magnification[:, None]
        """(N, 1, 2): f."""
        self._center = constants.center[:, None]
        """(N, 1, 2): c."""

    def forward(self, points: Tensor, camera: Tensor) -> ProjectedPoints:
        """Points (N, K, 3) in metres and (scale, x, y) (N, 3) -> where they are projected."""
        scale, shift = camera.split([1, 2], dim=1)
        inverse_scale = 1 / (self._per_scale * scale + SCALE_FLOOR)
        shift = torch.cat([shift, torch.zeros_like(scale)], dim=1)
        translation = self._offset * inverse_scale + shift
        sideways, depth = (points + translation[:, None]).split([2, 1], dim=-1)
        inverse_depth = 1 / depth
        in_plane = sideways * inverse_depth
        in_crop = in_plane * self._magnification + self._center
        return ProjectedPoints(in_crop, in_plane, inverse_depth, inverse_scale)

    def backward(self, projected: ProjectedPoints, grad_in_crop: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of points (N, K, 3) and camera (N, 3) from that of the crop's (N, K, 2)."""
        grad_sideways = grad_in_crop * self._magnification * projected.inverse_depth
        grad_depth = -(grad_sideways * projected.in_plane).sum(-1, keepdim=True)
        grad_points = torch.cat([grad_sideways, grad_depth], dim=-1)
        grad_translation = grad_points.sum(1)
        rate = -self._per_scale * projected.inverse_scale * projected.inverse_scale * self._offset
        grad_scale = (rate * grad_translation).sum(1, keepdim=True)
        return grad_points, torch.cat([grad_scale, grad_translation[:, :2]], dim=1)
