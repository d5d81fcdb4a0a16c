"""Trains the two networks of the default bundle: `python -m dualhmr_training.default_networks`.

Both are trained as Eq. 1 says, on synthetic people; they differ in size and in what they saw. The
poses are brought by whoever trains; the same poses and seeds give the same weights.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.body import Body, load_body
from dualhmr.metrics import mpjpe, pa_mpjpe
from dualhmr.networks import MeshRegressor
from dualhmr.objective import Objective
from dualhmr.rotations import rot6d_to_rotmat
from dualhmr.weights import save_weights
from dualhmr_training.configuration import NetworkConfig, TrainingConfig
from dualhmr_training.supervised import inputs_of, train, training_objective
from dualhmr_training.synthetic.detector import noise_only
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import NO_VARIATION, PoseFile, read_poses

NETWORKS = {
    "main": TrainingConfig(steps=14_000, seed=1),
    "auxiliary": TrainingConfig(network=NetworkConfig(blocks=3), steps=14_000, seed=2),
}
HELD_OUT_CLIPS = 6
_VALIDATE_EVERY = 500


def held_out_clips(poses: PoseFile) -> set[str]:
    """Clips kept from training, to choose learning rates on: every ninth or so, by name."""
    clips = sorted(set(poses.clips))
    return set(clips[:: max(2, len(clips) // HELD_OUT_CLIPS)])


def held_out_people(body: Body, poses: PoseFile, *, count: int, noise: float) -> People:
    """People in held-out poses, seen by `noise_only(noise)`."""
    population = Population(poses=NO_VARIATION, detector=noise_only(noise))
    pool = poses.of_clips(held_out_clips(poses))
    return PeopleSampler(body, pool, population, seed=1000).sample(count)


@torch.no_grad()
def errors_mm(network: MeshRegressor, objective: Objective, people: People) -> dict[str, float]:
    """Mean MPJPE and PA-MPJPE over the 24 joints, in millimetres."""
    output = network(inputs_of(people))
    rotations = rot6d_to_rotmat(output.pose_6d.unflatten(1, (24, 6)))
    joints = objective.target(rotations, output.betas).joints[:, :24]
    truth = objective.target(people.rotations, people.betas).joints[:, :24]
    return {
        "mpjpe": 1000 * mpjpe(joints, truth).mean().item(),
        "pa_mpjpe": 1000 * pa_mpjpe(joints, truth).mean().item(),
    }


class _Progress:
    """Prints the loss and held-out errors now and then, and keeps them as the training's record."""

    def __init__(self, objective: Objective, people: People, steps: int) -> None:
        self.record: list[dict[str, float]] = []
        self._objective, self._people, self._steps = objective, people, steps
        self._losses: list[float] = []
        self._start = time.perf_counter()

    def __call__(self, step: int, loss: float, network: MeshRegressor) -> None:
        self._losses.append(loss)
        if step % _VALIDATE_EVERY and step != self._steps:
            return
        row = {"step": step, "loss": sum(self._losses) / len(self._losses)}
        row |= errors_mm(network, self._objective, self._people)
        self.record.append(row)
        self._losses.clear()
        elapsed = time.perf_counter() - self._start
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        print(f"{elapsed:6.0f} s  {numbers}", file=sys.stderr, flush=True)


def train_one(role: str, poses: PoseFile, config: TrainingConfig, out: Path) -> MeshRegressor:
    """Trains one network and writes `<role>.safetensors` and `<role>.json` into `out`."""
    body, commit = load_body(), _commit()
    pool: Tensor = poses.of_clips(set(poses.clips) - held_out_clips(poses))
    people = held_out_people(body, poses, count=1024, noise=0.02)
    progress = _Progress(training_objective(body, config), people, config.steps)
    network = train(body, pool, config, report=progress)
    out.mkdir(parents=True, exist_ok=True)
    save_weights(network, out / f"{role}.safetensors")
    record = {
        "commit": commit,
        "config": asdict(config),
        "body": body.name,
        "validation": progress.record,
    }
    (out / f"{role}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return network


def _commit() -> str:
    """The commit that trains, as git names it; `unknown` outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--poses", type=Path, required=True, help="pose file (.npz) to train on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--network", choices=[*NETWORKS], action="append", help="default: both")
    parser.add_argument("--steps", type=int, help="training steps, for shorter runs")
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    poses = read_poses(options.poses)
    for role in options.network or NETWORKS:
        config = NETWORKS[role]
        if options.steps:
            config = replace(config, steps=options.steps)
        train_one(role, poses, config, options.out)


if __name__ == "__main__":
    main()
