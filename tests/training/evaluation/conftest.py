from pathlib import Path

import pytest
import torch
from helpers.keypoint_networks import keypoint_networks

from dualhmr.body.model import Body, load_body
from dualhmr_training.data.synthetic.poses import save_poses
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import (
    ComparedJoints,
    EvaluationBatch,
    EvaluationGroup,
    skeleton_joints,
    synthetic_group,
)
from dualhmr_training.training_folder import Networks


@pytest.fixture(scope="session")
def poses() -> torch.Tensor:
    """Made-up poses: (30, 24, 3) rotation vectors."""
    return 0.2 * torch.randn(30, 24, 3, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def pose_file(poses: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("poses") / "made_up.npz"
    save_poses(path, poses, [f"clip_{i // 3}" for i in range(30)])
    return path


@pytest.fixture(scope="session")
def body() -> Body:
    """The free body."""
    return load_body()


@pytest.fixture(scope="session")
def networks() -> Networks:
    """Of the default size; they read keypoints alone."""
    return keypoint_networks()


@pytest.fixture(scope="session")
def joints(body: Body) -> ComparedJoints:
    return skeleton_joints(body)


@pytest.fixture(scope="session")
def group(body: Body, poses: torch.Tensor) -> EvaluationGroup:
    """Three people, seen with noise."""
    return synthetic_group(body, poses, noise=0.02, count=3, seed=7, pictures=False)


@pytest.fixture(scope="session")
def batch(group: EvaluationGroup) -> EvaluationBatch:
    (batch,) = group.batches
    return batch


@pytest.fixture(scope="session")
def fitter(networks: Networks, body: Body, group: EvaluationGroup) -> BatchFitter:
    return BatchFitter(networks, body, group.keypoint_set, weights=networks.facts.weights)
