import numpy as np
import pytest
import torch
from helpers.tiny_training import TINY, make_poses, networks_and_batches, small_body

from dualhmr import load_body
from dualhmr.body.model import pose_skeleton
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, project_to_crop
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Objective
from dualhmr.rendering.pictures import INK, PAPER
from dualhmr.rotations import rotmat_to_rot6d
from dualhmr_training.batches import Batch
from dualhmr_training.contact_sheet import Picture, contact_sheet
from dualhmr_training.data.synthetic.batches import batch_of_people
from dualhmr_training.data.synthetic.people import PeopleSampler, Population
from dualhmr_training.synthetic_training import synthetic_objective
from dualhmr_training.validation import PICTURED, PeopleValidation

COUNT = 3
PANEL = (CROP_HEIGHT, CROP_WIDTH)


@pytest.fixture(scope="module", params=["cliff", "hmr"])
def objective(request: pytest.FixtureRequest) -> Objective:
    return synthetic_objective(load_body(), TINY.weights, camera=request.param)


@pytest.fixture(scope="module")
def seen(objective: Objective) -> tuple[HeadOutput, Batch]:
    """Bodies in the middle of their crops, and a batch whose keypoints are theirs exactly."""
    people = PeopleSampler(objective.body, make_poses().rotvecs, Population(), seed=0).sample(COUNT)
    output = HeadOutput(
        rotmat_to_rot6d(people.rotations).flatten(1),
        people.betas,
        torch.tensor([[0.9, 0.0, 0.3]]).repeat(COUNT, 1),
    )
    batch = batch_of_people(people, objective)
    points = objective.points(pose_skeleton(objective.body, people.rotations, people.betas))[0]
    camera = objective.camera(output.camera, people.view)
    keypoints = project_to_crop(points, camera, people.view)
    known = batch.evidence._replace(keypoints=keypoints, confidence=torch.ones(keypoints.shape[:2]))
    return output, batch._replace(evidence=known)


def without_dots(batch: Batch) -> Batch:
    confidence = torch.zeros_like(batch.evidence.confidence)
    return batch._replace(evidence=batch.evidence._replace(confidence=confidence))


def panels(sheet: Picture) -> list[Picture]:
    return np.split(sheet, sheet.shape[1] // CROP_WIDTH, axis=1)


def pixels(batch: Batch, person: int) -> list[tuple[int, int]]:
    """Row and column of the keypoints that fall into the crop; a crop spans -1 to 1."""
    x, y = ((batch.evidence.keypoints[person] + 1) / 2 * torch.tensor([CROP_WIDTH, CROP_HEIGHT])).mT
    found = zip(y.floor().int().tolist(), x.floor().int().tolist(), strict=True)
    return [(y, x) for y, x in found if 0 <= y < CROP_HEIGHT and 0 <= x < CROP_WIDTH]


def test_bodies_are_drawn_where_their_keypoints_are(
    seen: tuple[HeadOutput, Batch], objective: Objective
) -> None:
    output, batch = seen
    sheet = contact_sheet([output], objective, without_dots(batch))
    assert sheet.shape == (CROP_HEIGHT, COUNT * CROP_WIDTH, 3)
    assert sheet.dtype == np.uint8
    on_body = [
        (panel[at] != PAPER).any()
        for person, panel in enumerate(panels(sheet))
        for at in pixels(batch, person)
    ]
    assert len(on_body) > 15 * COUNT
    # Keypoints of the face and the feet lie on the outline.
    assert np.mean(on_body) > 0.9
    assert 0.05 < (sheet != PAPER).any(2).mean() < 0.6


def test_known_keypoints_are_dotted(seen: tuple[HeadOutput, Batch], objective: Objective) -> None:
    output, batch = seen
    for person, panel in enumerate(panels(contact_sheet([output], objective, batch))):
        dotted = (panel == INK).all(2)
        assert all(dotted[at] for at in pixels(batch, person))
        assert dotted.sum() <= 9 * len(pixels(batch, person)) + 20


def test_keypoints_out_of_the_crop_leave_it_alone(
    seen: tuple[HeadOutput, Batch], objective: Objective
) -> None:
    output, batch = seen
    far = batch._replace(evidence=batch.evidence._replace(keypoints=batch.evidence.keypoints - 30))
    expected = contact_sheet([output], objective, without_dots(batch))
    assert np.array_equal(contact_sheet([output], objective, far), expected)


def test_a_row_for_every_output_over_the_image(
    seen: tuple[HeadOutput, Batch], objective: Objective
) -> None:
    output, batch = seen
    image = torch.randint(0, 255, (COUNT, *PANEL, 3), dtype=torch.uint8)
    with_image = without_dots(batch)._replace(inputs=batch.inputs | {"image": image})
    smaller = output._replace(camera=output.camera * torch.tensor([0.2, 1.0, 1.0]))
    sheet = contact_sheet([output, smaller], objective, with_image)
    assert sheet.shape == (2 * CROP_HEIGHT, COUNT * CROP_WIDTH, 3)
    strip = np.concatenate(list(image.numpy()), axis=1)
    first, second = ((half != strip).any(2).mean() for half in np.split(sheet, 2))
    assert first > 2 * second > 0


def test_validation_of_both_networks_and_the_adapted_one() -> None:
    networks, _ = networks_and_batches(TINY)
    body = small_body()
    objective = synthetic_objective(body, TINY.weights)
    people = PeopleSampler(body, make_poses().rotvecs, Population(), seed=0).sample(17)
    validation = PeopleValidation(objective, people)
    errors = validation.errors(networks.eval())
    assert list(errors) == [
        f"{network}/{error}"
        for network in ("main", "adapted", "auxiliary")
        for error in ("mpjpe", "pa_mpjpe")
    ]
    assert errors["main/mpjpe"] != errors["adapted/mpjpe"]
    picture = validation.picture(networks)
    assert picture.shape == (3 * CROP_HEIGHT, PICTURED * CROP_WIDTH, 3)
    assert all(parameter.grad is None for parameter in networks.parameters())
    networks.auxiliary = None
    networks._inner = TINY.inner.__class__(steps=0)
    assert list(validation.errors(networks)) == list(errors)[:4]
