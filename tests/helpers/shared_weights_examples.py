"""Networks that read keypoints, three people, and schedules to adapt the ones to the others."""

from functools import lru_cache

import torch

from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.keypoints import COCO_17
from dualhmr.networks import HeadOutput
from dualhmr_benchmarks.claims.experiments.populations import VARIED, evaluated_population
from dualhmr_benchmarks.claims.experiments.setting import free_body
from dualhmr_benchmarks.claims.experiments.shared_weights import SharedWeights
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import EvaluationBatch, population_group
from dualhmr_training.training_folder import Networks
from helpers.keypoint_networks import keypoint_networks

ADAM = Schedule("Adam", (Phase(Adam(1e-4), 4),), 0.0)


@lru_cache(maxsize=1)
def networks() -> Networks:
    return keypoint_networks()


@lru_cache(maxsize=1)
def subjects() -> EvaluationBatch:
    poses = 0.2 * torch.randn(30, 24, 3, generator=torch.Generator().manual_seed(3))
    population = evaluated_population(VARIED, "openpose")
    group = population_group(free_body(), poses, population, keypoints="openpose", count=3, seed=7)
    (batch,) = group.batches
    return batch


def fitter() -> BatchFitter:
    return BatchFitter(networks(), free_body(), COCO_17, weights=networks().facts.weights)


def adapted(
    people: EvaluationBatch, schedule: Schedule, *, scope: str, people_at_once: int = 1
) -> tuple[AdaptationResult, ...]:
    """By `SharedWeights`."""
    shared = SharedWeights(
        networks(), free_body(), COCO_17, scope=scope, people_at_once=people_at_once
    )
    (results,) = shared.adapt(people, [schedule])
    return results


def flat(output: object) -> torch.Tensor:
    """(N, 157)."""
    assert isinstance(output, HeadOutput)
    return torch.cat(tuple(output), dim=1)
