"""Means of losses over the people who have the annotation, as the Meta-HMR release takes them."""

from collections.abc import Mapping

import torch
import torch.distributed as distributed
from torch import Tensor

from dualhmr.objective.objective import MeshTarget


def annotated_means(
    losses: Mapping[str, Tensor], target: MeshTarget | None, *, over_processes: bool = False
) -> dict[str, Tensor]:
    """The mean () of each loss (N,) by its name, over those whose `target` it compares with.

    Losses that compare with no target, of 2D keypoints and the camera, are averaged over all N, and
    so is everything where nothing in the target says who is annotated. The mean over nobody is zero
    and has no gradient.

    With `over_processes` the mean over the processes' results is the mean over everybody in all
    processes, however many of them are annotated in which. All processes have to call it alike.
    """
    counted = {name: _annotated(name, target) for name in losses}
    counts = {name: who.sum() for name, who in counted.items() if who is not None}
    if over_processes and counts and distributed.is_initialized():
        together = torch.stack(list(counts.values())).to(torch.float32)
        distributed.all_reduce(together)
        counts = dict(zip(counts, together / distributed.get_world_size(), strict=True))
    means = {}
    for name, loss in losses.items():
        who = counted[name]
        if who is None:
            means[name] = loss.mean()
        else:
            # A share of a process may be less than one person.
            nobody = counts[name] == 0
            total = torch.where(who, loss, 0.0).sum()
            means[name] = total / torch.where(nobody, 1, counts[name])
    return means


def _annotated(name: str, target: MeshTarget | None) -> Tensor | None:
    """Who (N,) has what the loss compares with; None is everybody."""
    if target is None:
        return None
    if name == "joints_3d":
        confidence = target.joints_confidence
        return None if confidence is None else (confidence > 0).any(1)
    if name == "betas" and target.betas_annotated is not None:
        betas = target.betas_annotated
        return betas if target.annotated is None else betas & target.annotated
    return target.annotated if name in ("vertices", "rotations", "betas") else None
