"""Adapted heads as the start for the next frame: the compiled fitter against PyTorch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dualhmr import open_bundle
from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.files import read_body
from dualhmr.engines import open_networks
from dualhmr.example import example
from dualhmr.person import PersonEvidence, observe_person, run_frozen_networks
from dualhmr.person_fitting import WarmFitter
from dualhmr.person_fitting.compiled_fitter import CompiledFitter
from dualhmr.person_fitting.onnx_fitter import OnnxFitter
from dualhmr.person_fitting.torch_fitter import TorchFitter

BUNDLE, BODY = open_bundle(), read_body()
SCHEDULE = BUNDLE.manifest.schedule.schedule(weights=BUNDLE.manifest.weights)
TWO_STEPS = replace(SCHEDULE, phases=(replace(SCHEDULE.phases[-1], steps=2),))


@pytest.fixture(scope="module")
def frames() -> tuple[PersonEvidence, PersonEvidence]:
    """The example, and the same person with the arms moved, as a next frame would see them."""
    image, keypoints = example()
    height, width = image.shape[:2]
    names = keypoints.set.names
    moved = keypoints.xy.copy()
    for row, name in enumerate(names):
        if "wrist" in name or "elbow" in name:
            moved[:, row] += (6.0, -9.0)
    networks, evidence = open_networks(BUNDLE), []
    for xy in (keypoints.xy, moved):
        seen = replace(keypoints, xy=xy)
        camera = float(np.hypot(height, width)), (width / 2, height / 2)
        observed = observe_person(seen, 0, *camera)
        evidence.append(run_frozen_networks(image, observed, networks, BUNDLE.manifest))
    return evidence[0], evidence[1]


FITTERS = {
    "numba": CompiledFitter(BUNDLE, BODY),
    "torch": TorchFitter(BUNDLE, BODY, device="cpu", scope="head"),
}


@pytest.mark.parametrize("name", FITTERS)
def test_from_the_trained_head_it_is_a_cold_start(name: str, frames: Any) -> None:
    fitter: Any = FITTERS[name]
    warm, _ = fitter.adapt_from(frames[0], SCHEDULE, None)
    cold = fitter.adapt(frames[0], SCHEDULE)
    assert warm.iterates.losses == pytest.approx(cold.iterates.losses, rel=1e-6)
    again = fitter.adapt(frames[0], SCHEDULE)
    assert again.iterates.losses == cold.iterates.losses, "the trained head was changed"


@pytest.mark.parametrize("name", FITTERS)
@pytest.mark.parametrize("schedule", [SCHEDULE, TWO_STEPS, SCHEDULE.limited_to(0)])
def test_the_head_is_that_of_the_best_step(name: str, schedule: Schedule, frames: Any) -> None:
    fitter: Any = FITTERS[name]
    found, head = fitter.adapt_from(frames[0], schedule, None)
    losses = found.iterates.losses
    assert fitter.loss_with(frames[0], schedule, head) == pytest.approx(min(losses), rel=1e-4)
    # Two steps of Adam from zero moments may end above where they began.
    found, head = fitter.adapt_from(frames[0], TWO_STEPS, head)
    assert found.iterates.losses[0] == pytest.approx(min(losses), rel=1e-4)
    assert fitter.loss_with(frames[0], TWO_STEPS, head) == pytest.approx(
        min(found.iterates.losses), rel=1e-4
    )


def test_the_next_frame_starts_alike_in_both(frames: Any) -> None:
    """Its features differ, so the matrix that reads them must have been adapted, too."""
    losses = []
    for fitter in FITTERS.values():
        _, head = fitter.adapt_from(frames[0], SCHEDULE, None)  # type: ignore[attr-defined]
        warm, _ = fitter.adapt_from(frames[1], TWO_STEPS, head)  # type: ignore[attr-defined]
        losses.append(warm.iterates.losses)
        cold = fitter.loss_with(frames[1], TWO_STEPS, None)  # type: ignore[attr-defined]
        assert warm.iterates.losses[0] < 0.5 * cold
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_which_fitters_can_continue() -> None:
    assert all(isinstance(fitter, WarmFitter) for fitter in FITTERS.values())
    assert not issubclass(OnnxFitter, WarmFitter)
