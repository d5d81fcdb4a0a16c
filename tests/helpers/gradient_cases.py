"""Bodies, objectives and persons to differentiate, and the gradient that autograd finds."""

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dualhmr.body.model import Body, load_body
from dualhmr.body.point_regressors import keypoint_regressor, skeleton_regressor
from dualhmr.camera import View
from dualhmr.keypoints import COCO_17
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Evidence, Objective
from dualhmr.objective.weights import LossWeights
from dualhmr.rotations import rot6d_to_rotmat
from helpers.fake_bodies import fake_smpl_body
from helpers.stick_figure import stick_figure

BODIES = ("stick", "free", "smpl")
CAMERAS = ("cliff", "hmr")
LOSSES = ("keypoints_2d", "joints_3d", "vertices", "rotations", "betas", "camera")
COUNTS = [144, 10, 3]
# Such that no loss drowns in the others.
WEIGHTS = LossWeights(5.0, 4.0, 0.5, 1.5, 0.25, 2e6)


@lru_cache(maxsize=6)
def make_body(name: str, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Body:
    builders = {"stick": stick_figure, "free": load_body, "smpl": fake_smpl_body}
    return builders[name]().to(device=device, dtype=dtype)


@lru_cache(maxsize=16)
def make_objective(
    body: str = "stick",
    camera: str = "cliff",
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Objective:
    made = make_body(body, dtype=dtype, device=device)
    return Objective(
        made,
        keypoints=keypoint_regressor(made, COCO_17),
        keypoint_count=17,
        camera=camera,
        weights=WEIGHTS,
        joints=skeleton_regressor(made) + keypoint_regressor(made, COCO_17),
    )


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def make_estimate(people: int, *, seed: int = 0, spread: float = 0.3) -> Tensor:
    """Upright persons before the camera, `spread` about the pose at rest: (N, 157)."""
    upright = torch.tensor([[1.0, 0], [0, -1], [0, 0]]).flatten()
    others = torch.eye(3)[:, :2].flatten().repeat(23)
    pose = torch.cat([upright, others]) + spread * normal(people, 144, seed=seed)
    camera = torch.tensor([0.9, 0.05, -0.1]) + 0.05 * normal(people, 3, seed=seed + 1)
    return torch.cat([pose, normal(people, 10, seed=seed + 2), camera], dim=1)


def split(estimate: Tensor) -> HeadOutput:
    return HeadOutput(*estimate.split(COUNTS, dim=1))


def rotations_of(estimate: Tensor) -> Tensor:
    return rot6d_to_rotmat(split(estimate).pose_6d.unflatten(1, (24, 6)))


def make_evidence(
    objective: Objective, people: int, *, target: bool = True, **changed_target: Any
) -> Evidence:
    """Some keypoints missing; the target is another mesh, with `changed_target` in its fields."""
    count = len(objective.available)
    confidence = normal(people, count, seed=7).abs()
    confidence[:, 3:4] = 0
    view = View(
        box_center=torch.tensor([[300.0, 200.0]]) + 40 * normal(people, 2, seed=5),
        box_height=220.0 + 30 * normal(people, seed=6),
        focal_length=900.0 + 50 * normal(people, seed=9),
        principal_point=torch.tensor([[320.0, 240.0]], dtype=torch.float64).expand(people, 2),
    )
    evidence = Evidence(0.5 * normal(people, count, 2, seed=8), confidence, view, None)
    if not target:
        return evidence
    other = make_estimate(people, seed=20)
    mesh = objective.target(rotations_of(other), split(other).betas)
    return evidence._replace(target=mesh._replace(**changed_target))


def moved(parts: Any, change: Any) -> Any:
    """The same nested tuple with `change` done to every tensor in it."""
    if isinstance(parts, Tensor):
        return change(parts)
    return None if parts is None else type(parts)(*(moved(part, change) for part in parts))


def by_autograd(
    objective: Objective,
    evidence: Evidence,
    estimate: Tensor,
    names: Collection[str] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    estimate = estimate.clone().requires_grad_()
    losses = objective.losses(split(estimate), evidence, names)
    (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), estimate)
    return {name: loss.detach() for name, loss in losses.items()}, gradient


def check_close(
    found: tuple[dict[str, Tensor], Tensor],
    expected: tuple[dict[str, Tensor], Tensor],
    *,
    within: float,
) -> None:
    """Losses, and each person's gradient against its largest entry, relatively."""
    assert list(found[0]) == list(expected[0])
    for name, loss in expected[0].items():
        torch.testing.assert_close(found[0][name], loss, rtol=within, atol=1e-30)
    scale = expected[1].abs().amax(1, keepdim=True)
    assert found[1].shape == expected[1].shape
    assert ((found[1] - expected[1]).abs() <= within * scale).all()
