"""Whatever has the person axis first in all its tensors: people, batches, samples."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.camera import View, box_info
from dualhmr.keypoints import BODY_23, BODY_25
from dualhmr.objective.objective import Evidence, MeshTarget, Objective
from dualhmr.person import keypoints_input
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population

T = TypeVar("T")


def some_of(persons: T, which: slice | Tensor) -> T:
    """Some of the persons, by a slice or by their numbers (M,)."""
    part: T = pytree.tree_map_only(Tensor, lambda leaf: leaf[which], persons)
    return part


def in_parts(persons: T, at_once: int) -> Iterator[T]:
    """All of the persons in their order, `at_once` at a time; fewer in the end."""
    count = next(len(leaf) for leaf in pytree.tree_leaves(persons) if isinstance(leaf, Tensor))
    for start in range(0, count, at_once):
        yield some_of(persons, slice(start, start + at_once))


def to_device(persons: T, device: torch.device) -> T:
    """The same persons, with their tensors on `device`."""
    moved: T = pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), persons)
    return moved


class Sample(NamedTuple):
    """A person, or a batch of N of them with the person axis first, as a `DataLoader` makes it.

    2D keypoints are the release's 49: OpenPose's 25 (`BODY_25`), then the 24 that data sets
    annotate (`SPIN_24`).
    """

    image: Tensor
    """(256, 192, 3) uint8 RGB crop."""
    keypoints: Tensor
    """(49, 2) normalised crop coordinates."""
    confidence: Tensor
    """(49,) zero where a keypoint is not annotated."""
    joints_3d: Tensor
    """(24, 3) metres, `SPIN_24`, camera orientation, wherever the data set put the origin."""
    joints_3d_confidence: Tensor
    """(24,) zero where a joint is not annotated."""
    rotvecs: Tensor
    """(24, 3) radians, SMPL's pose; joint 0 is the orientation before the camera."""
    betas: Tensor
    """(10,)."""
    has_mesh: Tensor
    """() bool: whether `rotvecs` and `betas` are annotated."""
    gender: Tensor
    """() 1 (male) or 2 (female) where `betas` are of that gender's body, 0 of the neutral one."""
    view: View
    """In pixels of the photograph as it was read, mirrored and turned like the person."""


class Share(NamedTuple):
    """One process's part of every batch."""

    batch: int
    """Persons in the whole batch."""
    process: int
    processes: int

    @property
    def own(self) -> slice:
        """Which persons of the whole batch."""
        return slice(self.process, None, self.processes)


class StepStream(Generic[T]):
    """The batch of any step; those of steps that follow each other come from one iterator."""

    def __init__(self, opened: Callable[[int, Share], Iterator[T]]) -> None:
        """`opened` gives the batches from a step on."""
        self._opened = opened
        self._batches: Iterator[T] | None = None
        self._expected: tuple[int, Share] | None = None

    def batch(self, step: int, share: Share) -> T:
        """The share of a step's batch."""
        if self._batches is None or self._expected != (step, share):
            self._batches = self._opened(step, share)
        self._expected = (step + 1, share)
        return next(self._batches)


class Batch(NamedTuple):
    """N persons. Every tensor has the person axis first."""

    inputs: dict[str, Tensor]
    """What the networks read, by name."""
    evidence: Evidence
    """What would be known at test time, the pseudo mesh apart: keypoints as detected."""
    truth: Evidence
    """What is to be learnt."""

    def share(self, index: int, count: int) -> "Batch":
        """Every `count`-th person from `index` on: one process's part of the batch."""
        return some_of(self, slice(index, None, count))


def batch_of_people(people: People, objective: Objective, images: Tensor | None = None) -> Batch:
    """Synthetic people; with their pictures (N, 256, 192, 3) for networks that read the image."""
    keypoints = keypoints_input(
        people.observed, people.observed_confidence, source=BODY_23, target=BODY_23
    )
    with torch.no_grad():
        target = objective.target(people.rotations, people.betas)
    inputs = {"keypoints": keypoints, "box_info": box_info(people.view)}
    return Batch(
        inputs=inputs if images is None else inputs | {"image": images},
        evidence=Evidence(people.detected, people.confidence, people.view, None),
        truth=Evidence(people.keypoints, people.in_view.float(), people.view, target),
    )


def batch_of_samples(
    samples: Sample, objective: Objective, gendered: Sequence[Objective] = ()
) -> Batch:
    """Persons of licensed data sets, for networks that read the image.

    In training both 2D losses, the inner step's and the outer one's, compare with what the data set
    annotates; OpenPose's detections, the first 25 keypoints, do not count, as in the release.

    `gendered` are the objectives on the male and the female body. With them, who has the betas of a
    gender is to have that body's joints and vertices, and any betas; without, they are taken for
    those of the neutral body.
    """
    annotated_only = samples.confidence.clone()
    annotated_only[:, : len(BODY_25)] = 0
    evidence = Evidence(samples.keypoints, annotated_only, samples.view, None)
    with torch.no_grad():
        rotations = rotvec_to_rotmat(samples.rotvecs)
        target = objective.target(rotations, samples.betas)
        of_genders = [other.target(rotations, samples.betas) for other in gendered]
    annotated = target._replace(
        joints=samples.joints_3d,
        joints_confidence=samples.joints_3d_confidence,
        known=samples.has_mesh,
    )
    for gender, of_gender in enumerate(of_genders, start=1):
        whose = samples.has_mesh & (samples.gender == gender)
        annotated = _with_mesh_of(annotated, of_gender, whose)
    return Batch(
        inputs={"image": samples.image, "box_info": box_info(samples.view)},
        evidence=evidence,
        truth=evidence._replace(target=annotated),
    )


def _with_mesh_of(target: MeshTarget, other: MeshTarget, whose: Tensor) -> MeshTarget:
    """`target`, but some persons' joints and vertices are another's, and their betas unknown."""
    joints_confidence, betas_known = target.joints_confidence, target.betas_known
    assert joints_confidence is not None
    points = whose[:, None, None]
    vertices = target.vertices
    if vertices is not None and other.vertices is not None:
        vertices = torch.where(points, other.vertices, vertices)
    return target._replace(
        joints=torch.where(points, other.joints, target.joints),
        joints_confidence=joints_confidence.masked_fill(whose[:, None], 1.0),
        vertices=vertices,
        betas_known=~whose if betas_known is None else betas_known & ~whose,
    )


class SyntheticBatches:
    """Batches of synthetic people; the batch of a step depends on the seed and the step alone.

    So a training that is resumed goes on with the batches it would have had, and every process can
    make the whole batch and take its share.
    """

    def __init__(
        self, body: Body, pool: Tensor, population: Population, objective: Objective, *, seed: int
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from."""
        self._sampler = PeopleSampler(body, pool, population, seed=seed)
        self._objective = objective
        self._seed = seed

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        self._sampler.reseed(self._seed * 1_000_003 + step)
        people = to_device(self._sampler.sample(count), self._objective.body.v_template.device)
        return batch_of_people(people, self._objective).share(process, processes)
