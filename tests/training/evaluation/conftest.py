from pathlib import Path

import numpy as np
import pytest
import torch

from dualhmr import Recoverer
from dualhmr_training.evaluation.subjects import ComparedJoints, Subject, skeleton_joints
from dualhmr_training.evaluation.synthetic import synthetic_subjects


@pytest.fixture(scope="session")
def poses() -> torch.Tensor:
    """Made-up poses: (30, 24, 3) rotation vectors."""
    return 0.2 * torch.randn(30, 24, 3, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def pose_file(poses: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("poses") / "made_up.npz"
    stored = (poses / (torch.pi / 32767)).round().to(torch.int16).numpy()
    np.savez(path, axis_angle_i16=stored, clip=np.array([f"clip_{i // 3}" for i in range(30)]))
    return path


@pytest.fixture(scope="session")
def recoverer() -> Recoverer:
    """The default networks."""
    return Recoverer()


@pytest.fixture(scope="session")
def joints(recoverer: Recoverer) -> ComparedJoints:
    return skeleton_joints(recoverer.body)


@pytest.fixture(scope="session")
def subjects(recoverer: Recoverer, poses: torch.Tensor, joints: ComparedJoints) -> list[Subject]:
    return list(synthetic_subjects(recoverer.body, poses, joints, noise=0.02, count=3, seed=7))
