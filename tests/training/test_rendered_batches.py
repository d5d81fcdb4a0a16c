"""Batches of rendered people: the same from any process or worker, and true to the people."""

import itertools
from dataclasses import replace

import pytest
import torch
from helpers.nested_tensors import equal, tensors
from helpers.tiny_image_backbone import tiny_network
from helpers.tiny_training import TINY, make_poses, small_body
from torch.utils.data import DataLoader

from dualhmr_training.batches import StreamedBatches
from dualhmr_training.data.synthetic.batches import (
    PicturedPeople,
    SyntheticImages,
    batch_of_people,
    rendered_batches,
)
from dualhmr_training.data.synthetic.degradations import Appearance, Degradation
from dualhmr_training.synthetic_training import synthetic_objective

COUNT = 6
POOL = make_poses().rotvecs
CONFIG = replace(TINY, main=tiny_network("tiny_image"))
BARE = Appearance(clutter=0, bystander=0, occluded=0, degradation=Degradation(0, 1, 0, 0, 0, 0, 0))
ignore_forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def batches(workers: int = 0, seed: int = 3) -> StreamedBatches[PicturedPeople]:
    body = small_body()
    objective = synthetic_objective(body, CONFIG.supervision)
    return rendered_batches(replace(CONFIG, seed=seed), body, POOL, objective, workers=workers)


def test_a_batch_has_pictures_besides_what_keypoint_networks_get() -> None:
    people, images = next(iter(SyntheticImages(small_body(), POOL, seed=3, batch=COUNT)))
    batch = batches().batch(0, COUNT)
    assert {name: tuple(tensor.shape) for name, tensor in batch.inputs.items()} == {
        "keypoints": (COUNT, 23, 3),
        "box_info": (COUNT, 3),
        "image": (COUNT, 256, 192, 3),
    }
    assert batch.inputs["image"].dtype == torch.uint8
    assert torch.equal(batch.inputs["image"], images)
    # What is known at test time is what was detected; what is learnt is the truth.
    assert torch.equal(batch.evidence.keypoints, people.detected)
    assert torch.equal(batch.evidence.confidence, people.confidence)
    assert torch.equal(batch.truth.keypoints, people.keypoints)
    assert batch.evidence.target is None
    without = batch_of_people(people, synthetic_objective(small_body(), CONFIG.supervision))
    del batch.inputs["image"]
    assert equal(batch, without)


def test_a_batch_depends_on_the_step_and_the_seed_alone() -> None:
    one_after_another = batches()
    in_order = [one_after_another.batch(step, COUNT) for step in range(3)]
    resumed = batches()
    assert equal(resumed.batch(2, COUNT), in_order[2])
    assert equal(resumed.batch(0, COUNT), in_order[0])
    assert not torch.equal(in_order[0].inputs["image"], in_order[1].inputs["image"])
    assert not torch.equal(in_order[0].truth.keypoints, in_order[1].truth.keypoints)
    assert not equal(batches(seed=4).batch(0, COUNT), in_order[0])


def test_processes_share_a_batch() -> None:
    whole = batches().batch(1, COUNT)
    for process in range(2):
        share = batches().batch(1, COUNT, process=process, processes=2)
        for own, all_of in zip(tensors(share), tensors(whole), strict=True):
            if own.is_floating_point():
                torch.testing.assert_close(own, all_of[process::2], rtol=0, atol=1e-5)
            else:
                assert torch.equal(own, all_of[process::2])


@ignore_forks
def test_any_number_of_workers_makes_the_same_batches() -> None:
    alone, together = batches(workers=0), batches(workers=2)
    for step in (5, 6, 7, 2):
        assert equal(together.batch(step, COUNT), alone.batch(step, COUNT))


@ignore_forks
def test_workers_take_turns() -> None:
    data = SyntheticImages(small_body(), POOL, seed=7, batch=4)
    loader = DataLoader(data, batch_size=None, num_workers=2)
    together, alone = (list(itertools.islice(source, 4)) for source in (loader, data))
    assert all(map(equal, together, alone))
    for one, other in itertools.combinations(together, 2):
        assert not torch.equal(one.people.betas, other.people.betas)
        assert not torch.equal(one.images, other.images)


def test_appearance_changes_nothing_but_the_images() -> None:
    usual, bare = (
        next(iter(SyntheticImages(small_body(), POOL, appearance=appearance, seed=7, batch=4)))
        for appearance in (Appearance(), BARE)
    )
    assert not torch.equal(bare.images, usual.images)
    assert equal(bare.people, usual.people)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"seed": -1}, {"start": -1}])
def test_a_wrong_batch_or_seed_is_an_error(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1, 0 and 0"):
        SyntheticImages(small_body(), POOL, **{"seed": 0, **wrong})
