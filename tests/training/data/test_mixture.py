import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.spin_files import everything, read, write_images
from torch.utils.data import DataLoader

from dualhmr_training.data.augmentation import Augmentation
from dualhmr_training.data.licensed_sets import DATASETS
from dualhmr_training.data.mixture import Mixture, MixtureSampler, Partition, paper_partitions
from dualhmr_training.data.person_dataset import Draw, PersonDataset

SIZES = {"human36m": 7, "coco": 6, "mpii": 3, "mpi_inf_3dhp": 2, "threedpw": 5}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PersonDataset]:
    sets = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        folder, arrays = tmp_path_factory.mktemp(name), everything(size, seed)
        write_images(folder, arrays)
        known = read(folder / "known.npz", arrays)
        sets[name] = PersonDataset(DATASETS[name], known, folder, augmentation=Augmentation())
    return sets


def mix(datasets: dict[str, PersonDataset], *, with_3dpw: bool) -> Mixture:
    partitions = paper_partitions(with_3dpw=with_3dpw)
    names = [name for partition in partitions for name in partition.names]
    return Mixture({name: datasets[name] for name in reversed(names)}, partitions)


@pytest.mark.parametrize(
    ("with_3dpw", "expected"),
    [
        (False, {"human36m": 0.5, "coco": 0.2, "mpii": 0.1, "mpi_inf_3dhp": 0.2}),
        (
            True,
            {"human36m": 0.4, "coco": 0.2, "mpii": 0.1, "mpi_inf_3dhp": 0.1, "threedpw": 0.2},
        ),
    ],
)
def test_data_sets_are_drawn_by_their_shares_and_persons_evenly(
    datasets: dict[str, PersonDataset], with_3dpw: bool, expected: dict[str, float]
) -> None:
    mixture = mix(datasets, with_3dpw=with_3dpw)
    draws = list(MixtureSampler(mixture, draws=40_000, seed=1))
    persons = Counter(draw.person for draw in draws)
    owners = [name for name in mixture.names for _ in range(SIZES[name])]
    assert sorted(persons) == list(range(len(mixture)))
    for person, count in persons.items():
        name = owners[person]
        assert count / 40_000 == pytest.approx(expected[name] / SIZES[name], rel=0.12)
    names = Counter(owners[draw.person] for draw in draws)
    assert {name: count / 40_000 for name, count in names.items()} == pytest.approx(
        expected, abs=0.008
    )


def test_the_papers_shares() -> None:
    without, with_3dpw = paper_partitions(with_3dpw=False), paper_partitions(with_3dpw=True)
    assert [partition.share for partition in without] == [0.5, 0.3, 0.2]
    assert [partition.share for partition in with_3dpw] == [0.4, 0.3, 0.1, 0.2]
    assert {name for partition in with_3dpw for name in partition.names} <= set(DATASETS)


def test_the_order_is_that_of_the_seed(datasets: dict[str, PersonDataset]) -> None:
    mixture = mix(datasets, with_3dpw=True)
    first = list(MixtureSampler(mixture, draws=500, seed=3))
    assert first == list(MixtureSampler(mixture, draws=500, seed=3))
    other = list(MixtureSampler(mixture, draws=500, seed=4))
    assert np.mean([a == b for a, b in zip(first, other, strict=True)]) < 0.3
    assert [draw.number for draw in first] == list(range(500))


@pytest.mark.parametrize("position", [0, 1, 4095, 4096, 4097, 9999, 10_000])
def test_training_can_go_on_from_any_position(
    datasets: dict[str, PersonDataset], position: int
) -> None:
    sampler = MixtureSampler(mix(datasets, with_3dpw=False), draws=10_000, seed=2)
    rest = sampler.starting_at(position)
    assert len(rest) == 10_000 - position
    everything_drawn = list(sampler)
    assert list(rest) == everything_drawn[position:]
    assert list(rest) == everything_drawn[position:]  # iterating does not move the start
    assert len(everything_drawn) == len(sampler) == 10_000


def test_a_longer_training_begins_like_a_shorter_one(datasets: dict[str, PersonDataset]) -> None:
    mixture = mix(datasets, with_3dpw=False)
    longer = MixtureSampler(mixture, draws=9000, seed=2)
    shorter = MixtureSampler(mixture, draws=5000, seed=2)
    assert list(itertools.islice(longer, 5000)) == list(shorter)


@pytest.mark.parametrize("start", [-1, 11])
def test_a_start_outside_is_refused(datasets: dict[str, PersonDataset], start: int) -> None:
    with pytest.raises(ValueError, match=f"start is {start}, expected 0 to .* 10"):
        MixtureSampler(mix(datasets, with_3dpw=False), draws=10, start=start)


def test_batches_go_on_as_if_training_had_not_been_cut_off(
    datasets: dict[str, PersonDataset],
) -> None:
    mixture = mix(datasets, with_3dpw=True)
    sampler = MixtureSampler(mixture, draws=12, seed=5)

    def batches(of: MixtureSampler) -> list[torch.Tensor]:
        loader = DataLoader(mixture, batch_size=4, sampler=of)
        return [batch.image for batch in loader]

    all_at_once = batches(sampler)
    assert len(all_at_once) == 3
    resumed = batches(sampler.starting_at(8))
    assert len(resumed) == 1
    assert torch.equal(resumed[0], all_at_once[2])


def test_persons_are_those_of_the_data_sets(datasets: dict[str, PersonDataset]) -> None:
    mixture = mix(datasets, with_3dpw=False)
    assert mixture.names == ("human36m", "coco", "mpii", "mpi_inf_3dhp")
    assert len(mixture) == 18
    assert mixture.pools() == [range(7), range(7, 16), range(16, 18)]
    expected = datasets["mpii"][Draw(1, 40)]
    assert torch.equal(mixture[Draw(14, 40)].image, expected.image)
    assert torch.equal(mixture[Draw(14, 40)].keypoints, expected.keypoints)
    with pytest.raises(IndexError):
        mixture[18]


def test_one_data_set_alone_is_a_mixture_too(datasets: dict[str, PersonDataset]) -> None:
    mixture = Mixture({"coco": datasets["coco"]}, [Partition(1.0, ("coco",))])
    counts = Counter(draw.person for draw in MixtureSampler(mixture, draws=600))
    assert set(counts) == set(range(6))


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ([], "the partitions name no data sets, the data sets are coco, mpii"),
        ([Partition(1.0, ("coco",))], "the partitions name coco, the data sets are coco, mpii"),
        ([Partition(1.0, ("coco", "mpii", "lsp"))], "the partitions name coco, mpii, lsp"),
        ([Partition(0.5, ("coco", "mpii")), Partition(0.5, ("coco",))], "each of them once"),
        ([Partition(0.5, ("coco",)), Partition(0.4, ("mpii",))], r"shares are \[0.5, 0.4\]"),
        ([Partition(1.0, ("coco",)), Partition(0.0, ("mpii",))], "above 0 and sum to 1"),
        ([Partition(1.5, ("coco",)), Partition(-0.5, ("mpii",))], "above 0 and sum to 1"),
    ],
)
def test_partitions_that_are_none_are_refused(
    datasets: dict[str, PersonDataset], partitions: list[Partition], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture({name: datasets[name] for name in ("coco", "mpii")}, partitions)


def test_the_sampler_works_where_there_are_no_images(tmp_path: Path) -> None:
    known = read(tmp_path / "known.npz", everything(4))
    people = PersonDataset(DATASETS["coco"], known, tmp_path)
    mixture = Mixture({"coco": people}, [Partition(1.0, ("coco",))])
    assert len(list(MixtureSampler(mixture, draws=3))) == 3
