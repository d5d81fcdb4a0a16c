"""`CompiledObjective`: an objective of one person without PyTorch, by the compiled loops."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import to_numpy
from dualhmr.body.arrays import JOINT_COUNT, BodyParts
from dualhmr.body.point_regressors import ComparedPoints, point_pairs
from dualhmr.camera import CAMERAS, CROP_SIZE, CropSize, View, crop_projection
from dualhmr.compiling import WorkerThreads
from dualhmr.objective.compiled import LOSSES, evaluate
from dualhmr.objective.compiled_vertices import Skin
from dualhmr.objective.weights import LossWeights

_Array = npt.NDArray[Any]
_POSE_FEATURES = 9 * JOINT_COUNT


class BodyConstants(NamedTuple):
    """What is constant for a body and the weights of the losses. B counts betas, P pairs."""

    parents: Any
    """(24,) int64; 24 above the root."""
    rest: Any
    """(1 + B, 72): rest joints for 1 and each beta."""
    pair_points: Any
    """(P,) int64: where the pair's point starts in `Scratch.points`."""
    pair_joints: Any
    """(P,) int64: where the transform that moves the pair starts in `Scratch.transforms`."""
    basis: Any
    """(1 + B + 216, 4 P): (m, a) of each pair for each blend weight, see `gradient.points`."""
    keypoints: Any
    """(K,) int64: where each 2D keypoint starts in `Scratch.points`."""
    joints: Any
    """(J,) int64: likewise for 3D joints."""
    joint_weights: Any
    """(J,), with all factors of the loss."""
    root: Any
    """(2,) int64: where the points that joints are centred between start in `Scratch.points`."""
    weights: Any
    """(3,): of the losses on rotations, betas and camera, with all factors."""


class PersonConstants(NamedTuple):
    """What is constant for a person."""

    keypoints: Any
    """(2 K,) in normalised crop coordinates."""
    keypoint_weights: Any
    """(K,), with all factors of the loss; zero where a keypoint is missing."""
    camera: Any
    """(8,): a, o, f and c of `dualhmr.camera.CropProjection`."""
    rotations: Any
    """(216,) of the pseudo mesh."""
    betas: Any
    """(B,) likewise."""
    joints: Any
    """(3 J,) likewise, centred; metres."""


class Scratch(NamedTuple):
    """A posed skeleton with its points, and the loss's gradient with respect to all of it."""

    rotations: Any
    """(216,) against the parents."""
    norms: Any
    """(72,): n1, n2 and d of `gram_schmidt` for each joint."""
    rest: Any
    """(72,)."""
    joints: Any
    """(72,) posed."""
    transforms: Any
    """(300,): [W | s] of each joint, and the identity; as `Pose.transforms`."""
    blend: Any
    """(1 + B + 216,)."""
    places: Any
    """(4 P,)."""
    points: Any
    """(3 U,)."""
    grad_rotations: Any
    grad_rest: Any
    grad_transforms: Any
    grad_blend: Any
    grad_places: Any
    grad_points: Any
    force: Any
    """(75,): S of `gradient.skeleton.Chain`."""
    moment: Any
    """(225,): M, before the joint's own place is subtracted."""


class CompiledObjective:
    """What `dualhmr.objective.objective.Objective` is, for bodies and evidence in NumPy.

    `points` are those that it compares, `keypoint_count` as there. All numbers are of `dtype`.
    """

    def __init__(
        self,
        body: BodyParts[Any],
        points: ComparedPoints,
        *,
        keypoint_count: int,
        camera: str,
        weights: LossWeights,
        crop_size: CropSize = CROP_SIZE,
        dtype: Any = np.float32,
    ) -> None:
        """Collects what is constant for the body. Raises ValueError for an unknown camera."""
        if camera not in CAMERAS:
            raise ValueError(f"unknown camera {camera!r}; known are {', '.join(CAMERAS)}")
        self.camera, self.crop_size, self.dtype = CAMERAS[camera], crop_size, np.dtype(dtype)
        self.weights: dict[str, float] = asdict(weights)
        self.available = to_numpy(points.keypoints.available)
        """(K,) bool: which keypoints the body has."""
        self.keypoint_weight = self.weights["keypoints_2d"] / (2 * keypoint_count)
        self.constants = self._constants(body, points)
        self.skin = Skin(body, weights.vertices, self.dtype) if weights.vertices else None

    def wanted(self, names: Collection[str] | None) -> _Array:
        """(6,), 1 for those of `LOSSES` that are in `names` (None: all) and have a weight, else 0.

        Raises ValueError for an unknown name, or if none is left.
        """
        unknown = set(names or ()) - set(LOSSES)
        if unknown:
            raise ValueError(
                f"unknown losses {', '.join(sorted(unknown))}; known are {', '.join(LOSSES)}"
            )
        on = [bool(self.weights[n]) and (names is None or n in names) for n in LOSSES]
        if not any(on):
            raise ValueError(f"no loss to minimise: {names} at {self.weights}")
        return np.array(on, self.dtype)

    def _constants(self, body: BodyParts[Any], points: ComparedPoints) -> BodyConstants:
        pairs = point_pairs(body, points.keypoints + points.joints)
        split, available = len(points.keypoints.names), to_numpy(points.joints.available)
        terms = np.argwhere(pairs.joint_rows)
        rest = _rest_basis(body)
        betas, point_starts = body.beta_count, 3 * pairs.order
        basis = np.zeros((1 + betas + _POSE_FEATURES, len(terms) + len(pairs.points), 4))
        weights = pairs.joint_rows[tuple(terms.T)][:, None]
        basis[: 1 + betas, : len(terms), :3] = rest[:, terms[:, 1]] * weights
        basis[0, :, 3] = np.concatenate([weights[:, 0], pairs.share])
        basis[: 1 + betas, len(terms) :, :3] = pairs.basis[: 1 + betas]
        # The body's features begin with joint 1.
        basis[1 + betas + 9 :, len(terms) :, :3] = pairs.basis[1 + betas :]
        joint_weight = self.weights["joints_3d"] / (3 * max(int(available.sum()), 1))
        return BodyConstants(
            parents=np.array([JOINT_COUNT, *body.parents[1:]]),
            rest=self._own(rest.reshape(len(rest), -1)),
            pair_points=3 * np.concatenate([terms[:, 0], pairs.points]),
            pair_joints=12 * np.concatenate([terms[:, 1], pairs.joints]),
            basis=self._own(basis.reshape(len(basis), -1)),
            keypoints=point_starts[:split],
            joints=point_starts[split:],
            joint_weights=self._own(joint_weight * available),
            root=point_starts[split:][list(points.root)],
            weights=self._own(
                [
                    self.weights["rotations"] / _POSE_FEATURES,
                    self.weights["betas"] / betas,
                    self.weights["camera"],
                ]
            ),
        )

    def _own(self, array: Any) -> _Array:
        """A new array, as compiled loops do not take those that cannot be written."""
        return np.array(array, self.dtype, order="C")

    def scratch(self) -> Scratch:
        """Memory for one evaluation at a time."""
        constants = self.constants
        blends, places = constants.basis.shape
        points = int(constants.pair_points.max(initial=0)) + 3
        points = max(points, *(int(each.max(initial=0)) + 3 for each in constants[5:7]))
        posed = (216, 72, 72, 72, 300, blends, places, points)
        gradients = (216, 72, 300, blends, places, points, 75, 225)
        scratch = Scratch(*(np.zeros(size, self.dtype) for size in posed + gradients))
        scratch.transforms[288:] = np.eye(3, 4).ravel()
        return scratch


class Iterate(NamedTuple):
    """An estimate, and what it means."""

    estimate: _Array
    """(144 + B + 3,): pose in 6D, betas and crop camera."""
    rotations: _Array
    """(24, 3, 3)."""
    keypoints: _Array
    """(K, 3) metres, before translation; zero where the body lacks one."""


class PersonObjective:
    """A `CompiledObjective` against the evidence about one person."""

    def __init__(
        self,
        objective: CompiledObjective,
        *,
        keypoints: _Array,
        confidence: _Array,
        view: View,
        rotations: _Array,
        betas: _Array,
        workers: WorkerThreads | None = None,
    ) -> None:
        """Evidence of one person, and the pseudo mesh; `workers` share the work on vertices.

        `keypoints` (K, 2) in normalised crop coordinates and `confidence` (K,), zero where one is
        missing; a `view` with a persons' axis of 1; `rotations` (24, 3, 3) and `betas` (B,).
        """
        self._objective, own = objective, objective._own
        self._workers = workers or WorkerThreads(1)
        self._scratch = objective.scratch()
        counts = objective.available & (confidence > 0)
        weights = np.where(counts, objective.keypoint_weight * confidence, 0)
        exact = View(*(np.asarray(part, np.float64) for part in view))
        camera = crop_projection(objective.camera, exact, objective.crop_size)
        self._constants = PersonConstants(
            keypoints=own(np.where(counts[:, None], keypoints, 0)).ravel(),
            keypoint_weights=own(weights),
            camera=own(np.concatenate([np.ravel(part) for part in camera])),
            rotations=own(rotations).ravel(),
            betas=own(betas),
            joints=np.empty(3 * len(objective.constants.joints), objective.dtype),
        )
        self._place_target()

    def _place_target(self) -> None:
        constants, scratch, target = self._objective.constants, self._scratch, self._constants
        # An estimate of the pseudo mesh; only what it poses is used.
        pose = target.rotations.reshape(-1, 3, 3)[:, :, :2].ravel()
        estimate = np.concatenate([pose, target.betas, np.ones(3, pose.dtype)])
        nothing = (np.zeros(6, pose.dtype), np.zeros(6, pose.dtype), np.empty_like(estimate))
        evaluate(constants, target, estimate, scratch, *nothing, True, False)
        center = (_rows(scratch.points, constants.root)).mean(0)
        target.joints[:] = (_rows(scratch.points, constants.joints) - center).ravel()
        skin = self._objective.skin
        self._vertices = None if skin is None else skin.place(scratch)

    def wanted(self, names: Collection[str] | None) -> _Array:
        """See `CompiledObjective.wanted`."""
        return self._objective.wanted(names)

    def __call__(
        self, estimate: _Array, minimised: _Array, wanted: _Array
    ) -> tuple[_Array, _Array]:
        """Losses (6,) of an estimate (144 + B + 3,), and the gradient of those that are minimised.

        `minimised` and `wanted` come from `CompiledObjective.wanted`; the loss on vertices is
        evaluated where it is wanted, the others always.
        """
        objective, scratch = self._objective, self._scratch
        losses, gradient = np.zeros(6, estimate.dtype), np.empty_like(estimate)
        skin, vertices = objective.skin, self._vertices
        own = (objective.constants, self._constants, estimate, scratch, minimised, losses, gradient)
        if skin is None or vertices is None or not (wanted[2] or minimised[2]):
            evaluate(*own, True, True)
            return losses, gradient
        evaluate(*own, True, False)
        losses[2] = skin.compare(vertices, scratch, minimised[2], self._workers)
        evaluate(*own, False, True)
        return losses, gradient

    def iterate(self, estimate: _Array) -> Iterate:
        """What is posed by the estimate that was evaluated last."""
        keypoints = _rows(self._scratch.points, self._objective.constants.keypoints)
        return Iterate(estimate, self._scratch.rotations.reshape(24, 3, 3).copy(), keypoints)


def _rows(points: _Array, starts: _Array) -> _Array:
    """(N, 3) of points that start at `starts` (N,); a copy."""
    return points.reshape(-1, 3)[starts // 3]


def _rest_basis(body: BodyParts[Any]) -> _Array:
    """(1 + B, 24, 3): rest joints for 1 and each beta."""
    regressor, template, shapes = map(
        to_numpy, (body.joint_regressor, body.v_template, body.shapedirs)
    )
    directions = np.tensordot(regressor, shapes, 1).transpose(2, 0, 1)
    return np.concatenate([(regressor @ template)[None], directions])
