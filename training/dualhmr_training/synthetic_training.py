"""Training on synthetic people: body, poses, objective, networks and validation put together."""

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from dualhmr.body import Body, keypoint_regressor, load_body, skeleton_regressor
from dualhmr.keypoints import BODY_23
from dualhmr.losses import LossWeights
from dualhmr.objective import Objective
from dualhmr.weights import save_weights
from dualhmr_training.batches import SyntheticBatches, batch_of_people
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.dual import DualNetworks
from dualhmr_training.held_out import errors_mm, held_out_clips, held_out_people
from dualhmr_training.initial import initial_network, mean_pose_6d
from dualhmr_training.synthetic.people import People
from dualhmr_training.synthetic.poses import PoseFile
from dualhmr_training.trainer import Trainer, Validate

RECORD = "training.json"
VALIDATION_PEOPLE = 1024
VALIDATION_NOISE = 0.02


def train_on_synthetic_people(
    config: TrainingConfig, poses: PoseFile, out: Path, *, body: Body | None = None
) -> DualNetworks:
    """Trains on the clips of `poses` that are not held out, on a CPU; resumes what is in `out`.

    Writes `training.json` - configuration, commit, body and poses - at the start, and
    `main.safetensors` and `auxiliary.safetensors` in the end. Raises as `Trainer` does.
    """
    body = body or load_body()
    pool = poses.of_clips(set(poses.clips) - held_out_clips(poses))
    objective = synthetic_objective(body, config.weights)
    networks = initial_networks(config, objective, pool)
    batches = SyntheticBatches(body, pool, config.population, objective, seed=config.seed)
    people = held_out_people(body, poses, count=VALIDATION_PEOPLE, noise=VALIDATION_NOISE)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / RECORD).exists():
        _write_record(out / RECORD, config, body, poses)
    validate = validation(objective, people)
    trained = Trainer(config, networks, batches, out=out, validate=validate).run()
    save_weights(trained.main, out / "main.safetensors")
    if trained.auxiliary is not None:
        save_weights(trained.auxiliary, out / "auxiliary.safetensors")
    return trained


def synthetic_objective(body: Body, weights: LossWeights) -> Objective:
    """The objective on a body's own 23 keypoints; they count among the 3D joints too."""
    keypoints = keypoint_regressor(body, BODY_23)
    return Objective(
        body,
        keypoints=keypoints,
        keypoint_count=len(BODY_23),
        camera="cliff",
        weights=weights,
        joints=skeleton_regressor(body) + keypoints,
    )


def initial_networks(config: TrainingConfig, objective: Objective, pool: Tensor) -> DualNetworks:
    """Both networks before training; the same configuration gives the same ones."""
    torch.manual_seed(config.seed)
    mean_pose = mean_pose_6d(pool)
    main, auxiliary = (
        None if spec is None else initial_network(spec, mean_pose=mean_pose, dropout=config.dropout)
        for spec in (config.main, config.auxiliary)
    )
    assert main is not None
    return DualNetworks(main, auxiliary, objective, config.inner, outer_losses=config.outer_losses)


def validation(objective: Objective, people: People) -> Validate:
    """Errors in millimetres of both networks, and of the main one after the inner steps."""
    batch = batch_of_people(people, objective)

    def validate(networks: DualNetworks) -> dict[str, float]:
        with torch.no_grad():
            outputs = {"main": networks.main(batch.inputs), "adapted": networks.adapted(batch)}
            if networks.auxiliary is not None:
                outputs["auxiliary"] = networks.auxiliary(batch.inputs)
        return {
            f"{network}/{name}": value
            for network, output in outputs.items()
            for name, value in errors_mm(output, objective, people).items()
        }

    return validate


def _write_record(path: Path, config: TrainingConfig, body: Body, poses: PoseFile) -> None:
    record = {
        "commit": _commit(),
        "config": asdict(config),
        "body": body.name,
        "body_sha256": _digest(body.v_template, body.shapedirs, body.posedirs),
        "poses": {"count": len(poses.clips), "sha256": _digest(poses.rotvecs)},
    }
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _commit() -> str:
    """The commit that trains, as git names it; `unknown` outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
