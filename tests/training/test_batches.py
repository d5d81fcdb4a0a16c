import pytest
import torch
from helpers.nested_tensors import equal, tensors
from helpers.tiny_training import TINY, make_poses, networks_and_batches, small_body

from dualhmr.keypoints import BODY_23
from dualhmr.objective.objective import Objective
from dualhmr_training.batches import Batch, to_device
from dualhmr_training.data.synthetic.batches import SyntheticBatches, batch_of_people
from dualhmr_training.data.synthetic.detector import noise_only
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic_training import synthetic_objective

COUNT = 8


@pytest.fixture(scope="module")
def objective() -> Objective:
    return synthetic_objective(small_body(), TINY.weights)


@pytest.fixture(scope="module")
def batches() -> SyntheticBatches:
    return networks_and_batches(TINY)[1]


@pytest.fixture(scope="module")
def people() -> People:
    return PeopleSampler(small_body(), make_poses().rotvecs, Population(), seed=0).sample(COUNT)


def test_networks_read_what_was_detected(people: People, objective: Objective) -> None:
    inputs = batch_of_people(people, objective).inputs
    assert {name: tuple(tensor.shape) for name, tensor in inputs.items()} == {
        "keypoints": (COUNT, len(BODY_23), 3),
        "box_info": (COUNT, 3),
    }
    seen = people.confidence > 0
    assert torch.equal(inputs["keypoints"][seen][:, :2], people.detected[seen])
    assert torch.equal(inputs["keypoints"][..., 2], people.confidence)
    assert not inputs["keypoints"][~seen].any()


def test_networks_read_observed_keypoints_where_the_population_has_them(
    objective: Objective,
) -> None:
    population = Population(look=noise_only(0.05))
    people = PeopleSampler(small_body(), make_poses().rotvecs, population, seed=0).sample(COUNT)
    batch = batch_of_people(people, objective)
    observed = people.observed_confidence > 0
    assert torch.equal(batch.inputs["keypoints"][observed][:, :2], people.observed[observed])
    assert batch.evidence.keypoints is people.detected
    assert not torch.equal(people.observed, people.detected)


def test_what_is_known_is_detected_and_what_is_learnt_is_true(
    people: People, objective: Objective
) -> None:
    batch = batch_of_people(people, objective)
    assert batch.evidence.target is None
    assert batch.evidence.keypoints is people.detected
    assert batch.truth.keypoints is people.keypoints
    assert batch.truth.target is not None
    assert torch.equal(batch.truth.target.rotations, people.rotations)
    assert batch.truth.target.joints.shape == (COUNT, 24 + len(BODY_23), 3)


def test_every_tensor_has_the_person_axis_first(batches: SyntheticBatches) -> None:
    batch = batches.batch(0, COUNT)
    assert len(tensors(batch)) > 10
    assert {len(tensor) for tensor in tensors(batch)} == {COUNT}


def test_a_step_s_batch_depends_on_the_step_and_the_seed_alone() -> None:
    first, second = (networks_and_batches(TINY)[1] for _ in range(2))
    in_order = [first.batch(step, COUNT) for step in range(3)]
    assert equal(second.batch(2, COUNT), in_order[2])
    assert equal(second.batch(0, COUNT), in_order[0])
    assert not equal(in_order[0], in_order[1])


def test_processes_share_the_batch_of_one(batches: SyntheticBatches) -> None:
    whole = batches.batch(4, COUNT)
    for process in range(4):
        part = batches.batch(4, COUNT, process=process, processes=4)
        for own, all_of in zip(tensors(part), tensors(whole), strict=True):
            assert torch.equal(own, all_of[process::4])


def test_moving_keeps_everything(batches: SyntheticBatches) -> None:
    batch = batches.batch(0, COUNT)
    moved = to_device(batch, torch.device("meta"))
    assert isinstance(moved, Batch)
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}
    assert moved.evidence.target is None
