"""From the adapted bodies of a photograph's persons to one `Recovery`."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dualhmr.body.arrays import BodyArrays
from dualhmr.person import AdaptedPerson, FloatArray, ObservedPerson
from dualhmr.plausibility import PlausibleKeypoints, body_warnings
from dualhmr.recovery import Recovery

Pose = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""Rotations (P, 24, 3, 3) and betas (P, B) to vertices (P, V, 3) and joints (P, 24, 3), metres."""


class FoundPerson(NamedTuple):
    """One person who could be adapted."""

    number: int
    """Among the user's persons."""
    observed: ObservedPerson
    adapted: AdaptedPerson


class PlacedBodies(NamedTuple):
    """Bodies in the camera frame, metres, and their parameters."""

    rotations: FloatArray
    """(P, 24, 3, 3)."""
    betas: FloatArray
    """(P, B)."""
    translation: FloatArray
    """(P, 3)."""
    vertices: FloatArray
    """(P, V, 3)."""
    joints: FloatArray
    """(P, 24, 3)."""

    def of(self, people: slice) -> "PlacedBodies":
        """Some of them, as copies: no result keeps the meshes of other photographs."""
        return PlacedBodies(*(part[people].copy() for part in self))


def place_people(people: list[AdaptedPerson], body: BodyArrays, pose: Pose) -> PlacedBodies:
    """The adapted bodies of P persons, posed together by `pose`."""
    rotations = _stacked([person.rotations for person in people], (24, 3, 3))
    betas = _stacked([person.betas for person in people], (body.beta_count,))
    translation = _stacked([person.translation for person in people], (3,))
    vertices, joints = (part + translation[:, None] for part in pose(rotations, betas))
    return PlacedBodies(rotations, betas, translation, vertices, joints)


def collect_recovery(
    plausible: PlausibleKeypoints,
    found: list[FoundPerson],
    placed: PlacedBodies,
    *,
    body: BodyArrays,
    bundle: str,
    timings: dict[str, float],
    engine: str,
    adaptation: str,
) -> Recovery:
    """The result; `placed` are the bodies of those who were `found`.

    Raises ValueError, naming the bundle, for vertices that are not finite.
    """
    persons = [person.number for person in found]
    adapted = [person.adapted for person in found]
    if not np.isfinite(placed.vertices).all():
        raise ValueError(f"bundle {bundle} gives a body that is not finite; is it damaged?")
    keypoints = plausible.keypoints.select(persons)
    warnings = [warning for warning in plausible.warnings if warning.person in persons]
    for row, person in enumerate(found):
        warnings += body_warnings(
            person.number,
            vertices=placed.vertices[row],
            body=body,
            betas=placed.betas[row],
            reprojection_px=person.adapted.reprojection_px,
            box_height=float(person.observed.view.box_height[0]),
        )
    return Recovery(
        persons=np.array(persons, np.int64),
        skipped=tuple(sorted(plausible.skipped)),
        warnings=tuple(sorted(warnings, key=lambda warning: warning.person)),
        vertices=placed.vertices,
        joints=placed.joints,
        keypoints_2d=_stacked([p.keypoints_2d for p in adapted], (len(keypoints.set), 2)),
        global_orient=placed.rotations[:, 0],
        body_pose=placed.rotations[:, 1:],
        betas=placed.betas,
        translation=placed.translation,
        focal_length=np.array([person.focal_length for person in adapted], np.float32),
        principal_point=_stacked([person.principal_point for person in adapted], (2,)),
        faces=body.faces,
        loss_history=tuple(person.iterates.losses for person in adapted),
        steps=np.array([len(person.iterates.losses) - 1 for person in adapted], np.int64),
        best_step=np.array([person.iterates.best_step for person in adapted], np.int64),
        stop_reason=tuple(person.iterates.stop_reason for person in adapted),
        reprojection_px=np.array(
            [person.reprojection_px for person in adapted], np.float32
        ).reshape(len(adapted), 2),
        timings_ms=timings,
        engine=engine,
        adaptation=adaptation,
        keypoints=keypoints,
        traces=tuple(person.iterates.trace for person in adapted),
        body=body,
    )


def _stacked(arrays: list[FloatArray], shape: tuple[int, ...]) -> FloatArray:
    """One array (P, *shape), for zero persons too."""
    return np.stack(arrays) if arrays else np.zeros((0, *shape), np.float32)
