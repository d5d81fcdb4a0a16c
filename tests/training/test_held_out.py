import pytest
import torch
from helpers.tiny_training import TINY, make_poses, networks_and_batches, small_body
from torch import Tensor

from dualhmr.body.model import Body
from dualhmr.networks import HeadOutput
from dualhmr.rotations import rotmat_to_rot6d, rotvec_to_rotmat
from dualhmr_training.data.synthetic.batches import batch_of_people
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic_training import synthetic_objective
from dualhmr_training.validation import errors_mm, held_out_clips, held_out_people


@pytest.fixture(scope="module")
def body() -> Body:
    return small_body()


@pytest.fixture(scope="module")
def people(body: Body) -> People:
    return PeopleSampler(body, make_poses().rotvecs, Population(), seed=0).sample(20)


def the_truth(people: People, turn: Tensor | None = None) -> HeadOutput:
    """What a network that knows the answer puts out, but for a turn of the whole body."""
    rotations = people.rotations.clone()
    if turn is not None:
        rotations[:, 0] = turn @ rotations[:, 0]
    return HeadOutput(
        rotmat_to_rot6d(rotations).flatten(1), people.betas, torch.ones(len(rotations), 3)
    )


def test_errors_of_who_knows_the_answer_are_zero(body: Body, people: People) -> None:
    errors = errors_mm(the_truth(people), synthetic_objective(body, TINY.weights), people)
    assert errors["mpjpe"] < 1e-2
    assert errors["pa_mpjpe"] < 1e-2


def test_errors_of_who_mistakes_the_direction(body: Body, people: People) -> None:
    turn = rotvec_to_rotmat(torch.tensor([0.0, 0.5, 0.0]))
    errors = errors_mm(the_truth(people, turn), synthetic_objective(body, TINY.weights), people)
    assert 50 < errors["mpjpe"] < 500
    assert errors["pa_mpjpe"] < 1e-2


def test_an_untrained_network_is_off_by_decimetres(body: Body, people: People) -> None:
    networks, _ = networks_and_batches(TINY)
    objective = synthetic_objective(body, TINY.weights)
    output = networks.eval().main(batch_of_people(people, objective).inputs)
    errors = errors_mm(output, objective, people)
    assert 10 < errors["pa_mpjpe"] < errors["mpjpe"] < 1000


@pytest.mark.parametrize("clips", [2, 3, 7, 11, 57, 100])
def test_some_clips_are_held_out_and_most_are_not(clips: int) -> None:
    poses = make_poses(clips, each=1)
    held_out = held_out_clips(poses)
    assert held_out < set(poses.clips)
    assert 1 <= len(held_out) <= (clips + 1) // 2
    if clips >= 57:
        assert len(held_out) < clips / 6


def test_held_out_people_stand_in_held_out_poses(body: Body) -> None:
    poses = make_poses()
    people = held_out_people(body, poses, count=30, noise=0.02)
    held_out = held_out_clips(poses)
    own = rotvec_to_rotmat(poses.of_clips(held_out))[:, 1:]
    others = rotvec_to_rotmat(poses.of_clips(set(poses.clips) - held_out))[:, 1:]
    assert len(own) + len(others) == len(poses.clips)

    def nearest(pool: Tensor) -> Tensor:
        return (people.rotations[:, None, 1:] - pool[None]).abs().flatten(2).amax(2).amin(1)

    assert (nearest(own) < 1e-6).all()
    assert (nearest(others) > 1e-2).all()
    assert not people.confidence[:, 17:].any()


def test_held_out_people_are_always_the_same(body: Body) -> None:
    first, second = (held_out_people(body, make_poses(), count=5, noise=0.02) for _ in range(2))
    assert torch.equal(first.detected, second.detected)
