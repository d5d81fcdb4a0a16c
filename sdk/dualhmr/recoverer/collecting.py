"""From the adapted bodies of a photograph's persons to one `Recovery`."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np

from dualhmr.arrays import is_tensor, library_of, to_numpy
from dualhmr.body.arrays import JOINT_COUNT, BodyArrays
from dualhmr.body.posing import pose_joints
from dualhmr.person import AdaptedPerson, FloatArray, ObservedPerson, PersonEvidence
from dualhmr.plausibility import PersonWarning, PlausibleKeypoints
from dualhmr.recovery import Recovery
from dualhmr.uncertainty import joint_uncertainty, keypoint_distance_m

# After adaptation to 400 synthetic people with a detector's errors, the distance has a median of
# 0.026 box heights and a 99 % quantile of 0.073.
MAX_REPROJECTION = 0.1
"""Mean distance to the keypoints after adaptation, in box heights, above which a fit is poor."""
NEAREST_M = 0.1
"""Nothing of a person in a photograph is nearer to the camera than this."""
BODY_HEIGHT_M = (0.4, 2.6)
"""Of the body in its rest pose: a baby, and more than anybody."""

Pose = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""Rotations (P, 24, 3, 3) and betas (P, B) to vertices (P, V, 3) and joints (P, 24, 3), metres."""


class PseudoMesh(NamedTuple):
    """One person's, whether the auxiliary network or the user says it."""

    rotations: FloatArray
    """(24, 3, 3)."""
    betas: FloatArray
    """(B,)."""


def pseudo_meshes(people: Sequence[PersonEvidence]) -> list[PseudoMesh]:
    """Those of P persons, copied from where the networks left them."""
    parts = [(each.rotations, each.betas) for each in people]
    if parts and all(map(is_tensor, chain(*parts))):
        # In one array, since the host waits for a GPU at every copy.
        joined = library_of(parts[0][0]).concatenate
        rotations, betas = (joined(part) for part in zip(*parts, strict=True))
        both = to_numpy(joined([rotations.reshape(len(parts), -1), betas], 1))
        split = 9 * JOINT_COUNT
        return [PseudoMesh(row[:split].reshape(JOINT_COUNT, 3, 3), row[split:]) for row in both]
    return [
        PseudoMesh(*(np.array(to_numpy(part)[0], np.float32) for part in pair)) for pair in parts
    ]


class FoundPerson(NamedTuple):
    """One person who could be adapted."""

    number: int
    """Among the user's persons."""
    observed: ObservedPerson
    adapted: AdaptedPerson


class PlacedBodies(NamedTuple):
    """Bodies in the camera frame, metres, their parameters, and the pseudo meshes'."""

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
    pseudo_rotations: FloatArray
    """(P, 24, 3, 3)."""
    pseudo_betas: FloatArray
    """(P, B)."""
    pseudo_joints: FloatArray
    """(P, 24, 3), without a translation."""

    def of(self, people: slice) -> "PlacedBodies":
        """Some of them, as copies: no result keeps the meshes of other photographs."""
        return PlacedBodies(*(part[people].copy() for part in self))


def place_people(
    people: list[AdaptedPerson], pseudo_meshes: list[PseudoMesh], body: BodyArrays, pose: Pose
) -> PlacedBodies:
    """The adapted bodies of P persons, posed together by `pose`, and their pseudo meshes."""
    rotations = _stacked([person.rotations for person in people], (24, 3, 3))
    betas = _stacked([person.betas for person in people], (body.beta_count,))
    translation = _stacked([person.translation for person in people], (3,))
    vertices, joints = (part + translation[:, None] for part in pose(rotations, betas))
    pseudo_rotations = _stacked([mesh.rotations for mesh in pseudo_meshes], (24, 3, 3))
    pseudo_betas = _stacked([mesh.betas for mesh in pseudo_meshes], (body.beta_count,))
    pseudo_joints = pose_joints(body, pseudo_rotations, pseudo_betas)
    pseudo = (pseudo_rotations, pseudo_betas, pseudo_joints)
    return PlacedBodies(rotations, betas, translation, vertices, joints, *pseudo)


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
    focal_length = np.array([person.focal_length for person in adapted], np.float32)
    reprojection_px = np.array([person.reprojection_px for person in adapted], np.float32)
    reprojection_px = reprojection_px.reshape(len(adapted), 2)
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
        uncertainty=joint_uncertainty(
            placed.joints,
            placed.pseudo_joints,
            keypoint_distance_m(reprojection_px[:, 1], placed.joints, focal_length),
        ),
        pseudo_rotations=placed.pseudo_rotations,
        pseudo_betas=placed.pseudo_betas,
        focal_length=focal_length,
        principal_point=_stacked([person.principal_point for person in adapted], (2,)),
        faces=body.faces,
        loss_history=tuple(person.iterates.losses for person in adapted),
        steps=np.array([len(person.iterates.losses) - 1 for person in adapted], np.int64),
        best_step=np.array([person.iterates.best_step for person in adapted], np.int64),
        stop_reason=tuple(person.iterates.stop_reason for person in adapted),
        reprojection_px=reprojection_px,
        timings_ms=timings,
        engine=engine,
        adaptation=adaptation,
        keypoints=keypoints,
        traces=tuple(person.iterates.trace for person in adapted),
        body=body,
    )


def body_warnings(
    person: int,
    *,
    vertices: FloatArray,
    body: BodyArrays,
    betas: FloatArray,
    reprojection_px: tuple[float, float],
    box_height: float,
) -> Iterator[PersonWarning]:
    """What cannot be right about one recovered person.

    `vertices` (V, 3) in the camera frame, metres; `betas` (B,) of `body`; `reprojection_px` is the
    mean distance to the keypoints before and after adaptation, and
    `box_height`, in image pixels.
    """
    nearest = float(vertices[:, 2].min())
    if nearest <= 0:
        yield PersonWarning(
            person,
            "behind_camera",
            f"the body reaches behind the camera (z = {nearest:.2f} m); check the keypoints and "
            "the focal length",
        )
    elif nearest < NEAREST_M:
        yield PersonWarning(
            person,
            "too_near",
            f"the body is {nearest:.3f} m from the camera; check the focal length, which is in "
            "pixels",
        )
    low, high = BODY_HEIGHT_M
    mean, directions = _heights(body)
    rest_height = float(np.ptp(mean + betas @ directions))
    if not low <= rest_height <= high:
        yield PersonWarning(
            person, "body_size", f"the body is {rest_height:.2f} m high, expected {low} to {high} m"
        )
    before, after = reprojection_px
    if after > MAX_REPROJECTION * box_height:
        yield PersonWarning(
            person,
            "poor_fit",
            f"keypoints of the body are {after:.1f} px from those given, "
            f"{100 * after / box_height:.0f} % of the person's box; a usual fit is below 5 %",
        )
    elif after > before and after > MAX_REPROJECTION / 2 * box_height:
        yield PersonWarning(
            person,
            "worse_than_start",
            f"adaptation moved the keypoints from {before:.1f} to {after:.1f} px from those given",
        )


@lru_cache(maxsize=2)
def _heights(body: BodyArrays) -> tuple[FloatArray, FloatArray]:
    """The y of all vertices at rest (V,), and what each beta adds (B, V), in memory of their own:
    reading every third number of all directions takes twice as long."""
    return body.v_template[:, 1].copy(), np.ascontiguousarray(body.shapedirs[:, 1].T)


def _stacked(arrays: list[FloatArray], shape: tuple[int, ...]) -> FloatArray:
    """One array (P, *shape), for zero persons too."""
    return np.stack(arrays) if arrays else np.zeros((0, *shape), np.float32)
