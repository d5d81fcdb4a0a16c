"""Networks that look at the image, trained on simulated landmarks."""

from dataclasses import replace
from pathlib import Path

import torch
from helpers.small_bundle import upright
from helpers.tiny_training import TINY, flat, networks_and_batches, train_command

from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.dual import SimulatedEyeRegressor
from dualhmr_training.presets import landmark_network
from dualhmr_training.training_folder import open_networks

EYE = landmark_network(feature_count=16, blocks=1, hidden=8)
CONFIG = replace(TINY, auxiliary=EYE, landmarks=LandmarkErrors())


def test_training_needs_no_pictures_and_leaves_networks_that_look(tmp_path: Path) -> None:
    before, _ = networks_and_batches(CONFIG)
    assert train_command(CONFIG, tmp_path) == 0
    networks = open_networks(tmp_path / "out")
    assert networks.auxiliary is not None
    assert networks.auxiliary.reads == ("image", "keypoints", "box_info")
    assert before.auxiliary is not None
    assert not torch.equal(flat(networks.auxiliary), flat(before.auxiliary))
    inputs = {
        "image": torch.zeros(1, 256, 192, 3, dtype=torch.uint8),
        "keypoints": torch.ones(1, 23, 3),
        "box_info": torch.zeros(1, 3),
    }
    assert networks.auxiliary(inputs).betas.isfinite().all()


def test_landmarks_depend_on_the_step_and_processes_agree_on_them() -> None:
    _, batches = networks_and_batches(CONFIG)
    whole = batches.batch(3, 8).inputs["landmarks"]
    parts = [batches.batch(3, 8, process=each, processes=2) for each in (0, 1)]
    for each, part in enumerate(parts):
        assert torch.equal(part.inputs["landmarks"], whole[each::2])
    assert not torch.equal(batches.batch(4, 8).inputs["landmarks"], whole)


@torch.no_grad()
def test_landmarks_take_the_place_of_the_eye() -> None:
    """The same features as from a picture, if the landmarks are those of the eye."""
    network = upright(EYE, 1)
    blind = SimulatedEyeRegressor(network.backbone, network.head)
    assert blind.reads == ("landmarks", "keypoints", "box_info")
    assert list(blind.state_dict()) == list(network.state_dict())
    image = (torch.arange(256 * 192 * 3) % 251).reshape(1, 256, 192, 3).to(torch.uint8)
    given = {"keypoints": torch.full((1, 23, 3), 0.3), "box_info": torch.ones(1, 3)}
    landmarks = network.backbone.eye(network.normalise_image(image))  # type: ignore[operator]
    expected = network(given | {"image": image})
    for one, other in zip(blind(given | {"landmarks": landmarks}), expected, strict=True):
        assert torch.equal(one, other)


def test_both_networks_learn_and_the_landmark_network_does_not() -> None:
    networks, batches = networks_and_batches(CONFIG)
    losses = networks.train()(batches.batch(0, CONFIG.batch))
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in networks.parameters())
    assert not any("eye" in name for name in networks.state_dict())
