"""3D error on synthetic people in captured poses, before and after adaptation.

    python benchmarks/poses.py POSES.npz --noise 0 0.02 0.05 --count 1000

Every pose is seen once, from a random side, with Gaussian keypoint noise in fractions of the
person's size; the people go through `Recoverer.recover`, as a user's would. `--held-out` takes the
clips of a training file that `dualhmr_training.default_networks` left out: rates are chosen there.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualhmr import KEYPOINT_SETS, Recoverer, Recovery
from dualhmr.adaptation import SCHEDULE_NAMES, Schedule
from dualhmr.body import Body, pose_skeleton
from dualhmr.camera import half_crop
from dualhmr.manifest import ScheduleDefaults
from dualhmr.metrics import mpjpe, pa_mpjpe
from dualhmr_training.default_networks import held_out_clips
from dualhmr_training.synthetic.detector import noise_only
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import NO_VARIATION, read_poses

FOCAL_LENGTH_PX = 1000.0
_COCO = KEYPOINT_SETS["coco_17"]


@dataclass(frozen=True)
class Errors:
    """Mean errors in millimetres over the 24 joints."""

    mpjpe_before: float
    pa_mpjpe_before: float
    mpjpe_after: float
    pa_mpjpe_after: float
    steps: float


def sample_people(body: Body, pool: Tensor, *, noise: float, count: int, seed: int = 7) -> People:
    """`count` people in poses from `pool` (M, 24, 3), without any augmentation."""
    population = Population(poses=NO_VARIATION, detector=noise_only(noise))
    return PeopleSampler(body, pool, population, seed=seed).sample(count)


def recover_all(recoverer: Recoverer, people: People, schedule: Schedule | None) -> list[Recovery]:
    """One recovery for each of the people, each in an image of their own."""
    half = half_crop(people.view.box_height)[:, None]
    seen = (people.detected * half + people.view.box_center[:, None])[:, : len(_COCO)]
    # The default networks read keypoints only; the image gives no more than its size.
    image = np.zeros((2000, 2000, 3), np.uint8)
    center = (1000.0, 1000.0)
    keypoints = torch.cat(
        [seen * FOCAL_LENGTH_PX + torch.tensor(center), people.confidence[:, : len(_COCO), None]], 2
    )
    return [
        recoverer.recover(
            image,
            person.numpy(),
            keypoint_set=_COCO,
            schedule=schedule,
            focal_length=FOCAL_LENGTH_PX,
            principal_point=center,
        )
        for person in keypoints
    ]


def measure(body: Body, people: People, recoveries: Sequence[Recovery]) -> Errors:
    """Compares the recovered skeletons with the true ones."""
    truth = pose_skeleton(body, people.rotations, people.betas).joints
    ends = {}
    for name, step in (("before", [0] * len(recoveries)), ("after", _best_steps(recoveries))):
        traces = [recovery.traces[0] for recovery in recoveries]
        rotations = [trace.rotations[at] for trace, at in zip(traces, step, strict=True)]
        betas = [trace.betas[at] for trace, at in zip(traces, step, strict=True)]
        joints = pose_skeleton(body, _stack(rotations), _stack(betas)).joints
        ends[f"mpjpe_{name}"] = 1000 * mpjpe(joints, truth).mean().item()
        ends[f"pa_mpjpe_{name}"] = 1000 * pa_mpjpe(joints, truth).mean().item()
    steps = float(np.mean([recovery.steps[0] for recovery in recoveries]))
    return Errors(**ends, steps=steps)


def _best_steps(recoveries: Sequence[Recovery]) -> list[int]:
    return [int(recovery.best_step[0]) for recovery in recoveries]


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _schedules(options: argparse.Namespace, defaults: ScheduleDefaults) -> dict[str, Schedule]:
    """The schedules asked for, at the rates asked for, by a name for the table."""
    rates = options.adam_rate or [defaults.adam_rate]
    return {
        f"{name} {rate:g}": replace(defaults, adam_rate=rate).schedule(name)
        for name in options.schedule
        for rate in rates
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, measures, prints a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("poses", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.02])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--schedule", nargs="+", choices=SCHEDULE_NAMES, default=["paper", "eft"])
    parser.add_argument("--adam-rate", type=float, nargs="+")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)

    recoverer = Recoverer(options.bundle)
    poses = read_poses(options.poses)
    pool = poses.of_clips(held_out_clips(poses)) if options.held_out else poses.rotvecs
    rows = []
    for noise in options.noise:
        people = sample_people(recoverer.body, pool, noise=noise, count=options.count)
        for name, schedule in _schedules(options, recoverer.bundle.manifest.schedule).items():
            errors = measure(recoverer.body, people, recover_all(recoverer, people, schedule))
            rows.append({"noise": noise, "schedule": name} | errors.__dict__)
            print("  ".join(_cell(value) for value in rows[-1].values()), file=sys.stderr)
    print(json.dumps(rows, indent=2) if options.json else _table(rows))


def _table(rows: list[dict[str, object]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
