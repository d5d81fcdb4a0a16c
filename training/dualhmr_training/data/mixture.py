"""Training batches from a mix of licensed data sets, in an order that can resume anywhere."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from dualhmr.camera import box_info
from dualhmr.keypoints import BODY_25
from dualhmr.objective.objective import Evidence, MeshTarget, Objective
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.batches import Batch, Share, StreamedBatches
from dualhmr_training.data.person_dataset import Draw, PersonDataset, Sample

_BLOCK = 4096


class Partition(NamedTuple):
    """A share of all draws, divided among data sets in proportion to their sizes."""

    share: float
    names: tuple[str, ...]


def paper_partitions(*, with_3dpw: bool) -> tuple[Partition, ...]:
    """The paper's mix, with and without 3DPW's training split."""
    if with_3dpw:
        return (
            Partition(0.4, ("human36m",)),
            Partition(0.3, ("coco", "mpii")),
            Partition(0.1, ("mpi_inf_3dhp",)),
            Partition(0.2, ("threedpw",)),
        )
    return (
        Partition(0.5, ("human36m",)),
        Partition(0.3, ("coco", "mpii")),
        Partition(0.2, ("mpi_inf_3dhp",)),
    )


class Mixture(Dataset[Sample]):
    """The persons of several data sets one after the other, in the order of the partitions."""

    def __init__(
        self, datasets: Mapping[str, PersonDataset], partitions: Sequence[Partition]
    ) -> None:
        """`datasets` are those that the partitions name, each of them once.

        Raises ValueError for missing or additional data sets, for names that appear twice, and for
        shares that are not positive or do not sum to 1.
        """
        names = [name for partition in partitions for name in partition.names]
        if sorted(names) != sorted(datasets):
            raise ValueError(
                f"the partitions name {', '.join(names) or 'no data sets'}, the data sets are "
                f"{', '.join(datasets) or 'none'}; they must be the same, each of them once"
            )
        shares = [partition.share for partition in partitions]
        if not (all(share > 0 for share in shares) and math.isclose(sum(shares), 1.0)):
            raise ValueError(f"the shares are {shares}; they must be above 0 and sum to 1")
        self.partitions = tuple(partitions)
        self.names = tuple(names)
        self._parts = [datasets[name] for name in names]
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        """The number of persons in all data sets."""
        return int(self._starts[-1])

    def __getitem__(self, which: int | Draw) -> Sample:
        """A person, as from the data set; IndexError beyond the last."""
        draw = which if isinstance(which, Draw) else Draw(which, 0)
        index = range(len(self))[draw.person]
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part][Draw(index - int(self._starts[part]), draw.number)]

    def pools(self) -> list[range]:
        """The indices of each partition's persons."""
        ends = np.cumsum([len(partition.names) for partition in self.partitions])
        stops = [0, *(int(self._starts[end]) for end in ends)]
        return [range(*pair) for pair in itertools.pairwise(stops)]


class MixtureSampler(Sampler[Draw]):
    """The order in which persons of a `Mixture` are drawn, independently and with replacement.

    The draw at a position depends on the seed and the position alone. A training that was
    interrupted therefore resumes at any position, and a longer one begins like a shorter one.
    """

    def __init__(self, mixture: Mixture, *, draws: int, seed: int = 0, start: int = 0) -> None:
        """Positions `start` to `draws`, counted from 0."""
        if not 0 <= start <= draws:
            raise ValueError(f"start is {start}, expected 0 to the number of draws, {draws}")
        self._pools = mixture.pools()
        self._shares = np.array([partition.share for partition in mixture.partitions])
        self._mixture = mixture
        self._draws = draws
        self._seed = seed
        self._start = start

    def starting_at(self, position: int) -> "MixtureSampler":
        """The same order from `position` on: the number of draws that were already used."""
        return MixtureSampler(self._mixture, draws=self._draws, seed=self._seed, start=position)

    def __len__(self) -> int:
        """The number of draws that are left."""
        return self._draws - self._start

    def __iter__(self) -> Iterator[Draw]:
        """The draws; each iteration begins at the start."""
        for block in range(self._start // _BLOCK, math.ceil(self._draws / _BLOCK)):
            for number, index in enumerate(self._block(block), start=block * _BLOCK):
                if self._start <= number < self._draws:
                    yield Draw(index, number)

    def _block(self, block: int) -> list[int]:
        # Each block of positions has its own generator, so that resuming skips whole blocks instead
        # of repeating all earlier draws.
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(block,)))
        pool = rng.choice(len(self._pools), _BLOCK, p=self._shares / self._shares.sum())
        first = np.array([pool.start for pool in self._pools])[pool]
        size = np.array([len(pool) for pool in self._pools])[pool]
        return (first + rng.integers(size)).tolist()


def batch_of_samples(
    samples: Sample, objective: Objective, gendered: Sequence[Objective] = ()
) -> Batch:
    """A batch of persons of licensed data sets, for networks that read the image.

    In training both 2D losses, the inner step's and the outer one's, compare with what the data set
    annotates. As in the release, OpenPose's detections, the first 25 keypoints, do not count.

    `gendered` are the objectives on the male and the female body. With them, a person with betas of
    a gendered body is compared with that body's joints and vertices, and their betas do not count;
    without, their betas are taken for those of the neutral body.
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
        annotated=samples.has_mesh,
    )
    for gender, of_gender in enumerate(of_genders, start=1):
        where = samples.has_mesh & (samples.gender == gender)
        annotated = _with_mesh_of(annotated, of_gender, where)
    return Batch(
        inputs={"image": samples.image, "box_info": box_info(samples.view)},
        evidence=evidence,
        truth=evidence._replace(target=annotated),
    )


def _with_mesh_of(target: MeshTarget, other: MeshTarget, where: Tensor) -> MeshTarget:
    """`target` with joints and vertices of `other` for the persons `where` (N,), betas unknown."""
    joints_confidence, betas_annotated = target.joints_confidence, target.betas_annotated
    assert joints_confidence is not None
    points = where[:, None, None]
    vertices = target.vertices
    if vertices is not None and other.vertices is not None:
        vertices = torch.where(points, other.vertices, vertices)
    return target._replace(
        joints=torch.where(points, other.joints, target.joints),
        joints_confidence=joints_confidence.masked_fill(where[:, None], 1.0),
        vertices=vertices,
        betas_annotated=~where if betas_annotated is None else betas_annotated & ~where,
    )


def mixture_batches(
    mixture: Mixture,
    objective: Objective,
    *,
    draws: int,
    seed: int,
    workers: int,
    gendered: Sequence[Objective] = (),
) -> StreamedBatches[Sample]:
    """Batches drawn from a mixture; the draws of a step depend on the seed and the step alone.

    `draws` is the number of samples in the whole training; `workers` processes load them.
    `gendered` are those of `batch_of_samples`.
    """
    order = MixtureSampler(mixture, draws=draws, seed=seed)

    def open_at(step: int, share: Share) -> Iterator[Sample]:
        # BatchSampler is typed for indices of type int, but only groups what it gets.
        batches = BatchSampler(
            order.starting_at(step * share.batch),  # type: ignore[arg-type]
            share.batch,
            drop_last=True,
        )
        own = (draws[share.own] for draws in batches)
        return iter(DataLoader(mixture, batch_sampler=own, num_workers=workers))

    def to_batch(samples: Sample) -> Batch:
        return batch_of_samples(samples, objective, gendered)

    return StreamedBatches(open_at, to_batch, objective.body.v_template.device)
