"""The adapter with captured steps, with the eager stand-in for CUDA graphs that a CPU gets."""

import numpy as np
import pytest

from dualhmr import open_bundle
from dualhmr.body.files import read_body
from dualhmr.camera import default_focal_length, image_center
from dualhmr.engines import open_networks
from dualhmr.example import example
from dualhmr.keypoints import Keypoints
from dualhmr.person import PersonEvidence, observe_person, run_frozen_networks
from dualhmr.person_fitting.torch_fitter import TorchFitter


@pytest.fixture(scope="module")
def people() -> list[PersonEvidence]:
    """The example's person, and the same with other keypoints."""
    bundle = open_bundle()
    image, keypoints = example()
    networks = open_networks(bundle, "torch")
    camera = default_focal_length(512, 512), image_center(512, 512)
    moved = Keypoints(keypoints.set, keypoints.xy * np.float32(0.9), keypoints.confidence)
    return [
        run_frozen_networks(image, observe_person(each, 0, *camera), networks, bundle.manifest)
        for each in (keypoints, moved)
    ]


def test_captured_once_and_used_for_everybody(
    people: list[PersonEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle()
    schedule = bundle.manifest.schedule.schedule(weights=bundle.manifest.weights)
    plain, capturing = (TorchFitter(bundle, read_body(), device="cpu", scope="head") for _ in "ab")
    monkeypatch.setattr(capturing, "_captures", True)
    found = [capturing.adapt(person, schedule) for person in people]
    expected = [plain.adapt(person, schedule) for person in people]
    assert len(capturing._graphs) == 1
    assert not np.allclose(expected[0].rotations, expected[1].rotations, atol=1e-3)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.iterates.best_step == theirs.iterates.best_step
        assert mine.iterates.losses == pytest.approx(theirs.iterates.losses, rel=1e-4)
        np.testing.assert_allclose(mine.rotations, theirs.rotations, atol=1e-4)
