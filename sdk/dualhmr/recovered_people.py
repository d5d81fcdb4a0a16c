"""`RecoveredPeople`: bodies in the camera frame, and how they were found, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import FREE_BODY
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.keypoints import Keypoints
from dualhmr.person import FloatArray, StepTrace, place_bodies
from dualhmr.plausibility import PersonWarning, SkippedPerson
from dualhmr.recovery_files import free_body
from dualhmr.uncertainty import keypoint_distance_m, vertex_uncertainty

People = TypeVar("People", bound="RecoveredPeople")


@dataclass(frozen=True, eq=False, repr=False)
class RecoveredPeople:
    """What a `Recovery` holds, which see; that class adds its files and pictures."""

    persons: npt.NDArray[np.int64]
    """(P,) indices among the user's persons; 0..P-1 unless some were skipped."""
    skipped: tuple[SkippedPerson, ...]
    """The user's persons that could not be recovered, and why."""
    warnings: tuple[PersonWarning, ...]
    """Of single persons: keypoints that were not used, bodies that cannot be right."""
    vertices: FloatArray
    """(P, V, 3) camera frame."""
    joints: FloatArray
    """(P, 24, 3) SMPL's skeleton, camera frame."""
    keypoints_2d: FloatArray
    """(P, K, 2) the body's keypoints in image pixels, in the order of the user's.

    NaN if the body has no such point (fingers, contour of the face).
    """
    global_orient: FloatArray
    """(P, 3, 3) rotation matrices, body frame to camera frame."""
    body_pose: FloatArray
    """(P, 23, 3, 3) rotation matrices relative to the parent joint."""
    betas: FloatArray
    """(P, 10)."""
    translation: FloatArray
    """(P, 3) metres, added to the body in its own frame."""
    uncertainty: FloatArray
    """(P, 24) metres: how far each joint may be off, with the pelvis in its place.

    Where the pseudo mesh or the keypoints disagree with this body: a hint, see
    `dualhmr.uncertainty`.
    """
    pseudo_rotations: FloatArray
    """(P, 24, 3, 3) of the pseudo mesh, as `global_orient` and `body_pose`."""
    pseudo_betas: FloatArray
    """(P, 10) of the pseudo mesh."""
    focal_length: FloatArray
    """(P,) image pixels, of the camera that sees the person."""
    principal_point: FloatArray
    """(P, 2) image pixels."""
    faces: npt.NDArray[np.int64]
    """(F, 3) triangles, the same for everybody."""
    loss_history: tuple[tuple[float, ...], ...]
    """Per person, the loss at the start and after every step."""
    steps: npt.NDArray[np.int64]
    """(P,) steps taken."""
    best_step: npt.NDArray[np.int64]
    """(P,) the step with the lowest loss, whose body this is."""
    stop_reason: tuple[str, ...]
    """Per person: `converged`, `max_steps` or `non_finite`."""
    reprojection_px: FloatArray
    """(P, 2) mean distance in pixels to the user's keypoints, before and after adaptation."""
    timings_ms: dict[str, float]
    """Milliseconds by stage, for all persons together."""
    engine: str
    """What ran the frozen networks."""
    adaptation: str
    """What ran the adaptation: PyTorch, or ONNX Runtime by the bundle's graph."""
    keypoints: Keypoints
    """The user's, of the recovered persons; those that were not used have confidence 0."""
    traces: tuple[StepTrace, ...]
    """Per person, the parameters at every step."""
    body: BodyArrays | None
    """None after unpickling where it is not the free body: see `__getstate__`."""

    def __repr__(self) -> str:
        """In one line: arrays of thousands of vertices would fill a notebook."""
        parts = [f"{len(self)} persons", f"{len(self.skipped)} skipped"]
        parts += [f"{len(self.warnings)} warnings"] if self.warnings else []
        return f"Recovery({', '.join(parts)}, {self.engine}, adaptation={self.adaptation})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the body (20 MB): for the free body its name, by which it is read again.

        A licensed body is left out, and so is a changed one: another body of the same name would
        show other steps.
        """
        free = self.body is not None and self.body.same_as(free_body())
        return vars(self) | {"body": FREE_BODY if free else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The free body is read again from the package, once a process."""
        self.__dict__.update(state)
        if state["body"] == FREE_BODY:
            object.__setattr__(self, "body", free_body())

    def __copy__(self: People) -> People:
        """Shares all arrays."""
        return replace(self)

    def __deepcopy__(self: People, memo: dict[int, Any]) -> People:
        """Shares nothing but the body, which is never changed."""
        copied = {
            name: value if name == "body" else deepcopy(value, memo)
            for name, value in vars(self).items()
        }
        return type(self)(**copied)

    def __len__(self) -> int:
        """P."""
        return len(self.persons)

    def __getitem__(self: People, person: int) -> People:
        """The recovery of one person, with a person axis of 1. Raises IndexError past the last."""
        index = range(len(self))[person]
        number = self.persons[index]
        chosen: dict[str, Any] = {
            "keypoints": self.keypoints.select([index]),
            "warnings": tuple(warning for warning in self.warnings if warning.person == number),
        }
        for field in fields(self):
            if field.name not in _WITHOUT_PERSON_AXIS:
                chosen[field.name] = getattr(self, field.name)[index : index + 1]
        return replace(self, **chosen)

    def __iter__(self: People) -> Iterator[People]:
        """One person at a time."""
        return (self[person] for person in range(len(self)))

    def vertex_uncertainty(self) -> FloatArray:
        """(P, V) metres: `uncertainty` of every vertex.

        Raises ValueError where the body was left out of a pickle.
        """
        return vertex_uncertainty(
            self._own_body("compute the uncertainty"),
            self.vertices,
            self.joints,
            self.pseudo_rotations,
            self.pseudo_betas,
            keypoint_distance_m(self.reprojection_px[:, 1], self.joints, self.focal_length),
        )

    def step_vertices(self, person: int = 0) -> FloatArray:
        """(S, V, 3) one person at the start and after every step up to the best, camera frame."""
        return self._posed(person, list(range(int(self.best_step[person]) + 1)))[0]

    def _posed(self, person: int, steps: list[int]) -> tuple[FloatArray, FloatArray]:
        """Vertices (S, V, 3) and joints (S, 24, 3) of one person after some steps."""
        body, trace = self._own_body("draw the steps"), self.traces[person]
        return place_bodies(
            body, trace.rotations[steps], trace.betas[steps], trace.translation[steps]
        )

    def _keypoints_of(self, person: int, vertices: FloatArray, joints: FloatArray) -> FloatArray:
        """(S, K, 2) pixels, of one person after S steps; NaN for points it does not have."""
        points = keypoint_regressor(self._own_body("draw the steps"), self.keypoints.set)
        projected = points.from_mesh(vertices, joints)
        keypoints = projected[..., :2] / projected[..., 2:] * self.focal_length[person]
        keypoints = keypoints + self.principal_point[person]
        return np.where(points.available[:, None], keypoints, np.nan)

    def _observed(self, person: int) -> FloatArray:
        """(K, 2) the user's keypoints in pixels, NaN for those that do not count."""
        counted = self.keypoints.confidence[person] > 0
        return np.where(counted[:, None], self.keypoints.xy[person], np.nan)

    def _uncertainty_of(self, person: int, vertices: FloatArray, joints: FloatArray) -> FloatArray:
        """(S, V) metres, of one person's bodies after S steps, as `vertex_uncertainty`."""
        rows = np.full(len(vertices), person)
        keypoints = self._keypoints_of(person, vertices, joints)
        distance = np.linalg.norm(keypoints - self._observed(person), axis=-1)
        return vertex_uncertainty(
            self._own_body("compute the uncertainty"),
            vertices,
            joints,
            self.pseudo_rotations[rows],
            self.pseudo_betas[rows],
            keypoint_distance_m(np.nanmean(distance, axis=1), joints, self.focal_length[rows]),
        )

    def _own_body(self, work: str) -> BodyArrays:
        """The body, for some work. Raises ValueError where it was left out of a pickle."""
        if self.body is None:
            raise ValueError(
                "this recovery was unpickled without its body, which is not the free one; "
                f"{work} where it was made"
            )
        return self.body


_WITHOUT_PERSON_AXIS = {
    "warnings",
    "skipped",
    "faces",
    "timings_ms",
    "engine",
    "adaptation",
    "keypoints",
    "body",
}
"""Fields that have no person axis, or know themselves how to be selected from."""
