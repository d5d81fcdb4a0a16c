"""A regressor head, a body and what is known of persons, to adapt the head to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.networks import RegressorHead, as_output
from dualhmr.objective.objective import Evidence, Objective
from helpers.gradient_cases import make_estimate, make_evidence, make_objective, moved, normal

FEATURES, HIDDEN = 40, 32


@dataclass(frozen=True)
class HeadAndBody:
    head: RegressorHead
    features: Tensor
    box_info: Tensor | None
    objective: Objective
    evidence: Evidence


def head_and_body(
    body: str,
    camera: str,
    *,
    persons: int = 1,
    iterations: int = 3,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> HeadAndBody:
    """Persons with missing keypoints, and a head that starts upright before the camera."""
    torch.manual_seed(1)
    reads_box_info = camera == "cliff"
    head = RegressorHead(
        FEATURES, hidden=HIDDEN, iterations=iterations, reads_box_info=reads_box_info
    )
    for decoder in (head.decpose, head.decshape, head.deccam):
        torch.nn.init.normal_(decoder.weight, std=0.01)
    start = as_output(make_estimate(1, spread=0.05))
    for buffer, part in zip((head.init_pose, head.init_shape, head.init_cam), start, strict=True):
        buffer.copy_(part)

    def on_device(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    return HeadAndBody(
        head.to(device, dtype).eval(),
        on_device(normal(persons, FEATURES, seed=3).relu()),
        on_device(normal(persons, 3, seed=4)) if reads_box_info else None,
        make_objective(body, camera, dtype=dtype, device=device),
        moved(make_evidence(make_objective(body, camera), persons), on_device),
    )
