"""What the landmark network says of rendered people, beside what training simulates of them.

    python benchmarks/scripts/landmark_errors.py --poses poses.npz --count 1200

Poses are drawn as in training. A row is of people whose landmarks are off by so much in the crop,
on average over those inside it; the network's weight is above 0.5. Depths are of limbs that are
deeper than a quarter of the trunk's length.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import load_body
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.files import markdown_table
from dualhmr.networks.landmark_trunk import (
    LANDMARK_KEYPOINTS,
    LANDMARK_NAMES,
    LandmarkEye,
    in_trunk_lengths,
)
from dualhmr.networks.regressor import ImageNormaliser
from dualhmr.objective.weights import LossWeights
from dualhmr_training.data.synthetic.batches import SyntheticImages
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors, simulated_landmarks
from dualhmr_training.data.synthetic.poses import SeededRandom, read_poses
from dualhmr_training.evaluation.metrics import pa_mpjpe
from dualhmr_training.synthetic_training import synthetic_objective

_AT_ONCE = 50
_BINS = ((0, 3), (3, 5), (5, 10), (10, 1000))
_LIMBS = [
    (LANDMARK_NAMES.index(f"{side}_{start}"), LANDMARK_NAMES.index(f"{side}_{end}"))
    for side in ("left", "right")
    for start, end in (
        *(("shoulder", "elbow"), ("elbow", "wrist")),
        *(("hip", "knee"), ("knee", "ankle")),
    )
]
_DEEP = 0.25
_WITHOUT_FACE = slice(5, None)


@torch.no_grad()
def people(poses: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The eye's landmarks (N, 21, 6), the true points (N, 21, 3) and keypoints (N, 21, 2)."""
    body, rows = load_body(), list(LANDMARK_KEYPOINTS)
    objective = synthetic_objective(body, LossWeights(vertices=0.0))
    eye, normalise = LandmarkEye().eval(), ImageNormaliser()
    parts = []
    images = SyntheticImages(body, poses, seed=77, batch=_AT_ONCE)
    for pictured in islice(images, -(-count // _AT_ONCE)):
        target = objective.target(pictured.people.rotations, pictured.people.betas)
        points = target.joints[:, len(JOINT_NAMES) :][:, rows]
        landmarks = eye(normalise(pictured.images))
        parts.append((landmarks, points, pictured.people.keypoints[:, rows]))
    landmarks, points, keypoints = (torch.cat(each) for each in zip(*parts, strict=True))
    return landmarks, points, keypoints


def off_in_crop(landmarks: Tensor, keypoints: Tensor) -> Tensor:
    """(N,) percent of the crop's height, over the keypoints in the crop."""
    halves = torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / (2 * CROP_HEIGHT)
    off = 100 * ((landmarks[..., :2] - keypoints) * halves).norm(dim=-1)
    inside = (keypoints.abs() < 1).all(-1)
    return (off * inside).sum(1) / inside.sum(1).clamp(min=1)


def rows(name: str, landmarks: Tensor, points: Tensor, keypoints: Tensor) -> list[list[str]]:
    """The table's rows, one for each of `_BINS`."""
    off, sure = off_in_crop(landmarks, keypoints), landmarks[:, 0, 5] > 0.5
    said, true = in_trunk_lengths(landmarks[..., 2:5]), in_trunk_lengths(points)
    aligned = pa_mpjpe(*(each[:, _WITHOUT_FACE] for each in (landmarks[..., 2:5], points)))
    starts, ends = torch.tensor(_LIMBS).T
    said_depth, true_depth = ((each[:, ends] - each[:, starts])[..., 2] for each in (said, true))
    table = []
    for low, high in _BINS:
        some = sure & (off >= low) & (off < high)
        across = (said - true)[some][..., :2].norm(dim=-1).mean(1)
        deep = true_depth[some].abs() > _DEEP
        factors = (said_depth[some] / true_depth[some])[deep]
        table.append(
            [
                name,
                f"{low} to {high}" if high < _BINS[-1][1] else f"above {low}",
                f"{100 * some.sum() / sure.sum():.0f}%",
                f"{1000 * aligned[some].median():.0f}",
                f"{across.median():.2f}",
                f"{(said - true)[some][..., 2].abs().mean(1).median():.2f}",
                f"{factors.median():.2f}",
                f"{100 * (factors < 0).float().mean():.0f}%",
            ]
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--poses", type=Path, required=True, help="captured poses")
    parser.add_argument("--count", type=int, default=1200, help="people (%(default)s)")
    options = parser.parse_args(arguments)
    landmarks, points, keypoints = people(read_poses(options.poses).rotvecs, options.count)
    simulated = simulated_landmarks(points, keypoints, LandmarkErrors(), SeededRandom(1))
    heading = ["landmarks", "off in the crop, % of its height", "people", "PA-MPJPE, mm"]
    heading += ["across, trunks", "in depth, trunks", "depth of limbs", "wrong way in depth"]
    found = rows("of rendered people", landmarks, points, keypoints)
    print(markdown_table([heading, *found, *rows("simulated", simulated, points, keypoints)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
