"""How close the written asset comes to anny, on bodies and poses not fitted on."""

import numpy as np
import trimesh
from scipy import sparse
from scripts.free_body.anny_source import AnnySource
from scripts.free_body.decimate import ReducedMesh
from scripts.free_body.kinematics import Array
from scripts.free_body.pose_blend_shapes import Rig, pose_with_anny, pose_with_smpl
from scripts.free_body.random_poses import random_poses
from scripts.free_body.shape_basis import ShapeBasis
from scripts.free_body.skeleton import JOINT_NAMES
from scripts.free_body.t_pose import reduce_vertices, sample_t_posed, t_posed

AGE_GROUPS = {"adults 18-80": (18.0, 80.0), "children 2-17": (2.0, 18.0), "all ages": (0.0, 90.0)}
_BODIES = 150
_SEED = 90_000


def millimetres(difference: Array) -> dict[str, float]:
    """Mean, 95th percentile and largest length of offsets (..., 3) in metres."""
    length = 1000 * np.linalg.norm(difference, axis=-1)
    summary = {"mean": length.mean(), "p95": np.percentile(length, 95), "max": length.max()}
    return {name: round(float(value), 3) for name, value in summary.items()}


def measure_bodies(
    source: AnnySource,
    mesh: ReducedMesh,
    basis: ShapeBasis,
    joint_regressor: Array,
    keypoint_regressor: Array,
    source_keypoints: Array,
) -> dict[str, dict[str, object]]:
    """Per age group: errors in mm of ten betas, of joints and of keypoints, and the betas."""
    report: dict[str, dict[str, object]] = {}
    for number, (group, ages) in enumerate(AGE_GROUPS.items()):
        full = sample_t_posed(source, _BODIES, ages=ages, seed=_SEED + number)
        vertices = reduce_vertices(mesh.reduction, full.vertices)
        betas = basis.betas(vertices)
        rebuilt = basis.bodies(betas)
        joint_error = joint_regressor @ vertices - full.joints
        worst = np.linalg.norm(joint_error, axis=-1).mean(0).argmax()
        report[group] = {
            "betas_to_vertices_mm": millimetres(rebuilt - vertices),
            "template_alone_mm": millimetres(basis.template - vertices),
            "joints_mm": millimetres(joint_error),
            "worst_joint": JOINT_NAMES[worst],
            "worst_joint_mm": millimetres(joint_error[:, worst]),
            "joints_from_betas_mm": millimetres(joint_regressor @ rebuilt - full.joints),
            "keypoints_mm": millimetres(
                keypoint_regressor @ vertices - source_keypoints @ full.vertices
            ),
            "largest_beta": round(float(np.abs(betas).max()), 2),
        }
    return report


def measure_poses(rig: Rig, posedirs: Array, count: int) -> dict[str, dict[str, float]]:
    """Distance in mm to anny's posing of adults, without and with pose blend shapes."""
    phenotypes = rig.source.sample_phenotypes(count, ages=(18.0, 80.0), seed=_SEED + 10)
    rest = rig.source.rest_bodies(phenotypes)
    template = reduce_vertices(rig.reduction, t_posed(rig.source, rest).vertices)
    local = random_poses(count, seed=_SEED + 11)
    target = pose_with_anny(rig, rest, local)
    zeros = np.zeros_like(posedirs)
    return {
        "without_mm": millimetres(pose_with_smpl(rig, template, zeros, local) - target),
        "with_mm": millimetres(pose_with_smpl(rig, template, posedirs, local) - target),
    }


def measure_surface(dense: Array, dense_faces: Array, mesh: ReducedMesh) -> dict[str, object]:
    """Distance in mm from the reduced to the dense T-posed surface, and whether it is closed."""
    reduced = trimesh.Trimesh(mesh.reduction @ dense, mesh.faces, process=False)
    original = trimesh.Trimesh(dense, dense_faces, process=False)
    points, _ = trimesh.sample.sample_surface(reduced, 3000, seed=0)
    closest, _, _ = trimesh.proximity.closest_point(original, points)
    return {
        "distance_mm": millimetres(closest - points),
        "watertight": bool(reduced.is_watertight),
        "volume_litres": round(float(1000 * reduced.volume), 2),
    }


def as_sparse(weights: Array) -> sparse.csr_array:
    """The weights (V, 24) as the sparse matrix that skinning multiplies with."""
    return sparse.csr_array(weights)
