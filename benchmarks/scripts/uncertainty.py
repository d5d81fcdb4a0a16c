"""How well `Recovery.uncertainty` ranks people by the error of each joint.

    python benchmarks/scripts/uncertainty.py --poses cmu_test.npz --noise 0.02 0.05 --detected \
        --count 500

Everybody is adapted as `dualhmr evaluate` does, by the bundle's schedule. A cell is Spearman's rank
correlation, over the people, of the joint's uncertainty with its error: both pelves at the origin /
after Procrustes alignment. The last rows are its mean over the joints but the pelvis, how often it
is above 0.3, and mean error and mean uncertainty in millimetres.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from dualhmr.adaptation.schedule import Schedule
from dualhmr.arrays import to_numpy
from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import matching_body, pose_skeleton
from dualhmr.camera import half_crop, project_to_crop
from dualhmr.files import markdown_table
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import MeshTarget
from dualhmr.uncertainty import joint_uncertainty, keypoint_distance_m
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import BATCH_SIZE, EvaluationBatch, GroundTruth
from dualhmr_training.evaluation.metrics import aligned_joint_errors, joint_errors
from dualhmr_training.evaluation.options import chosen_groups
from dualhmr_training.evaluation.protocols import SYNTHETIC
from dualhmr_training.training_folder import open_networks

_AIM = 0.3
Array = npt.NDArray[np.float64]


class JointRecord(NamedTuple):
    """N people, metres; each (N, 24)."""

    uncertainty: Array
    error: Array
    """Both pelves at the origin."""
    aligned_error: Array


class RememberingFitter(BatchFitter):
    """Keeps the pseudo meshes of the last batch."""

    last: MeshTarget

    def pseudo_mesh(self, truth: GroundTruth, inputs: dict[str, Tensor]) -> MeshTarget | None:
        """As `BatchFitter` does."""
        target = super().pseudo_mesh(truth, inputs)
        assert target is not None
        self.last = target
        return target


@torch.no_grad()
def joint_record(
    fitter: RememberingFitter, batch: EvaluationBatch, schedule: Schedule
) -> JointRecord:
    """Adapts to a batch's people."""
    (results,) = fitter.adapt(batch, [schedule])
    best = [result.outputs[result.best_step] for result in results]
    output = HeadOutput(*(torch.cat(parts) for parts in zip(*best, strict=True)))
    objective, evidence = fitter.objective, batch.evidence
    pose = pose_skeleton(objective.body, output.rotations, output.betas)
    pseudo = pose_skeleton(objective.body, fitter.last.rotations, fitter.last.betas)
    camera, view = objective.full_camera(output.camera, evidence.view), evidence.view
    projected = project_to_crop(objective.points(pose)[0], camera, view, objective.crop_size)
    to_pixels = half_crop(view.box_height, objective.crop_size)[:, None]
    off = ((projected - evidence.keypoints) * to_pixels).norm(dim=-1)
    counted = (evidence.confidence > 0) & objective.available
    mean_off = torch.where(counted, off, 0.0).sum(1) / counted.sum(1)
    joints = to_numpy(pose.joints + camera.translation[:, None])
    distance = keypoint_distance_m(to_numpy(mean_off), joints, to_numpy(camera.focal_length))
    truth, found = batch.truth.joints.double(), pose.joints.double()
    return JointRecord(
        joint_uncertainty(joints, to_numpy(pseudo.joints), distance).astype(np.float64),
        to_numpy(joint_errors(found, truth)),
        to_numpy(aligned_joint_errors(found, truth)),
    )


def rank_correlation(first: Array, second: Array) -> Array:
    """Spearman's, of each column of (N, J); NaN where all of a column is the same."""
    ranks = [each.argsort(0).argsort(0).astype(np.float64) for each in (first, second)]
    centred = [rank - rank.mean(0) for rank in ranks]
    product = (centred[0] * centred[1]).sum(0)
    correlation: Array = product / np.sqrt(np.prod([(c * c).sum(0) for c in centred], axis=0))
    correlation[(np.ptp(first, 0) == 0) | (np.ptp(second, 0) == 0)] = np.nan
    return correlation


def table(records: dict[str, JointRecord]) -> str:
    """In Markdown, a column for each group."""
    below = slice(1, None)
    columns = []
    for record in records.values():
        plain = rank_correlation(record.uncertainty, record.error)
        aligned = rank_correlation(record.uncertainty, record.aligned_error)
        pairs = list(zip(plain.tolist(), aligned.tolist(), strict=True))
        cells = [f"{one:.2f} / {other:.2f}" for one, other in pairs]
        cells[0] = f"- / {pairs[0][1]:.2f}"
        of = (plain[below], aligned[below])
        cells.append(" / ".join(f"{each.mean():.2f}" for each in of))
        cells.append(" / ".join(f"{(each > _AIM).sum()} of {len(each)}" for each in of))
        errors = (record.error[:, below], record.aligned_error)
        cells.append(" / ".join(f"{1000 * each.mean():.0f}" for each in errors))
        cells.append(f"{1000 * record.uncertainty[:, below].mean():.0f}")
        columns.append(cells)
    names = [*JOINT_NAMES, "**mean**", f"above {_AIM}", "error, mm", "uncertainty, mm"]
    return markdown_table([["joint", *records], *map(list, zip(names, *columns, strict=True))])


def main(arguments: Sequence[str]) -> None:
    """Prints the table; raises what reading poses and networks does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, help="bundle or training (the default bundle)")
    parser.add_argument("--poses", type=Path, help="file or folder (the pose prior)")
    parser.add_argument("--noise", type=float, nargs="*", default=[0.02])
    parser.add_argument("--detected", action="store_true")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.set_defaults(data=SYNTHETIC, held_out=False)
    options = parser.parse_args(arguments)
    networks = open_networks(options.networks)
    facts = networks.facts
    schedule = facts.schedule.schedule(facts.schedule.name, weights=facts.weights)
    body = matching_body(None, needed=facts.body, networks=networks.source)
    records = {}
    for group in chosen_groups(options, body, facts, pictures="image" in networks.reads):
        fitter = RememberingFitter(networks, body, group.keypoint_set, weights=facts.weights)
        batches = tqdm(group.batches, total=-(-group.count // BATCH_SIZE), desc=group.keypoints)
        parts = [joint_record(fitter, batch, schedule) for batch in batches]
        records[group.keypoints] = JointRecord(*map(np.concatenate, zip(*parts, strict=True)))
    print(table(records))


if __name__ == "__main__":
    main(sys.argv[1:])
