"""Against what the authors' released code computed, on networks that anybody can make again.

Tolerances are those of the goldens' README: what float32 on another machine can hold. Of each
network one is in memory at a time; the loops start from the kept features and the head alone.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.goldens import ITERATIONS, NETWORKS, PERSONS, Arrays, Goldens
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.adaptation.adapt import adapt
from dualhmr.adaptation.fast_head import adapt_head
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import CONVERGED, OUT_OF_STEPS, named_schedule
from dualhmr.body.model import Body, pose_skeleton
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.body.posing import pose_arrays
from dualhmr.camera import CAMERAS, View, box_info, image_to_crop, project
from dualhmr.keypoints import BODY_25, SPIN_49
from dualhmr.networks import HeadOutput, affine_head, as_output
from dualhmr.objective.gradient import ObjectiveGradient
from dualhmr.objective.objective import Evidence, Objective, own_objective
from dualhmr.objective.weights import LossWeights
from dualhmr_export.checkpoints.architectures import recognise

HALF_CROP = torch.tensor([96.0, 128.0])


@pytest.fixture(scope="module")
def goldens(shared_folder: Path) -> Goldens:
    return Goldens.of(shared_folder)


@pytest.fixture(scope="module")
def body(goldens: Goldens, tmp_path_factory: pytest.TempPathFactory) -> Body:
    return goldens.body(tmp_path_factory.mktemp("body"))


def relative(found: Tensor | NDArray, expected: NDArray) -> float:
    difference = np.abs(np.asarray(found, float) - np.asarray(expected, float))
    return float(difference.max() / np.abs(expected).max())


def tolerance(network: str, least: float) -> float:
    """HRNets are three times as sensitive to rounding as ResNets."""
    return least * (3 if network.endswith("hrnet") else 1)


def tensor_view(goldens: Goldens) -> View:
    return View(*(torch.from_numpy(np.asarray(part, np.float32)) for part in goldens.view()))


def objective_of(network: str, body: Body, *, every_point: bool = False) -> Objective:
    return own_objective(
        body,
        SPIN_49,
        camera=network.partition("_")[0],
        weights=LossWeights(),
        keypoints=None if every_point else keypoint_regressor(body, BODY_25),
    )


def first_guess(computed: Arrays, role: str = "main") -> HeadOutput:
    rotations = torch.from_numpy(computed[f"{role}_rotations"])
    betas, camera = (torch.from_numpy(computed[f"{role}_{name}"]) for name in ("betas", "camera"))
    return HeadOutput(rotations[..., :2].flatten(1), betas, camera)


def evidence_of(goldens: Goldens, objective: Objective, computed: Arrays) -> Evidence:
    keypoints = torch.from_numpy(goldens.people["crop_keypoints"][:, :25])
    places = keypoints[..., :2] / HALF_CROP - 1
    auxiliary = first_guess(computed, "auxiliary")
    target = objective.target(auxiliary.rotations, auxiliary.betas)
    return Evidence(places, keypoints[..., 2], tensor_view(goldens), target)


def of_person(evidence: Evidence, person: int) -> Evidence:
    one = slice(person, person + 1)
    assert evidence.target is not None
    target = [None if part is None else part[one] for part in evidence.target]
    return Evidence(
        evidence.keypoints[one],
        evidence.confidence[one],
        View(*(part[one] for part in evidence.view)),
        type(evidence.target)(*target),
    )


def test_boxes_are_theirs(goldens: Goldens) -> None:
    view, people = goldens.view(), goldens.people
    assert relative(view.box_center, people["box_center"]) < 1e-5
    assert relative(view.box_height, people["box_scale"] * 200) < 1e-5
    assert relative(view.focal_length, people["focal_length"]) < 1e-5
    assert relative(box_info(view), people["box_info"]) < 1e-5
    given = people["keypoints"]
    expected = people["crop_keypoints"][:, :25, :2] / np.array([96, 128]) - 1
    found = image_to_crop(given[..., :2].astype(np.float32), view)
    assert np.abs(found - expected)[given[..., 2] > 0].max() < 1e-5


@pytest.fixture(params=[(name, role) for name in NETWORKS for role in ITERATIONS], ids="-".join)
def network_and_role(request: pytest.FixtureRequest) -> tuple[str, str]:
    name_and_role: tuple[str, str] = request.param
    return name_and_role


def test_networks_compute_theirs(goldens: Goldens, network_and_role: tuple[str, str]) -> None:
    name, role = network_and_role
    state, computed = goldens.state(name, role), goldens.computed(name)
    network = recognise(state).load(state, iterations=ITERATIONS[role]).network
    del state
    inputs = goldens.inputs()
    with torch.no_grad():
        features, output = network.encode(inputs), network(inputs)
    found = {"features": features, "rotations": output.rotations}
    for what, value in (found | {"betas": output.betas, "camera": output.camera}).items():
        assert relative(value, computed[f"{role}_{what}"]) < tolerance(name, 1e-4), what


@pytest.mark.parametrize("name", NETWORKS)
def test_points_and_losses_before_any_step(goldens: Goldens, body: Body, name: str) -> None:
    computed, view = goldens.computed(name), tensor_view(goldens)
    output = first_guess(computed)
    objective, every = objective_of(name, body), objective_of(name, body, every_point=True)
    joints = every.points(pose_skeleton(body, output.rotations, output.betas))[0]
    assert np.abs(joints.numpy() - computed["joints"]).max() < 1e-4
    camera = CAMERAS[name.partition("_")[0]](output.camera, view)
    pixels = project(joints, camera)
    if name.startswith("hmr"):  # theirs: crop pixels from the crop's centre
        pixels = image_to_crop(pixels, view) * HALF_CROP
    assert np.abs(pixels.numpy() - computed["projected_px"]).max() < 0.05
    assert relative(every.target(output.rotations, output.betas).vertices, computed["vertices"]) < (
        1e-4
    )
    losses = objective.losses(output, evidence_of(goldens, objective, computed))
    assert list(losses) == list(objective.weights)
    for what, value in losses.items():
        expected = computed[f"loss_{what}"]
        assert relative(value / objective.weights[what], expected) < tolerance(name, 2e-5), what
    total = torch.stack(list(losses.values())).sum(0)
    assert relative(total, computed["loss_total"]) < tolerance(name, 2e-5)


@pytest.mark.parametrize("person", PERSONS)
@pytest.mark.parametrize("prefix", ["", "early_"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_schedule_release_goes_as_their_loop(
    goldens: Goldens, body: Body, name: str, prefix: str, person: int
) -> None:
    computed = goldens.computed(name)
    rates = goldens.facts["early_rates"] if prefix else {"adam": 1e-5, "plain": 1e-5}
    schedule = named_schedule("release", adam_rate=rates["adam"], descent_rate=rates["plain"])
    objective = objective_of(name, body)
    evidence = of_person(evidence_of(goldens, objective, computed), person)
    head = goldens.head(name)
    inputs = [torch.from_numpy(computed["main_features"])[person : person + 1]]
    if head.reads_box_info:
        inputs.append(torch.from_numpy(goldens.people["box_info"])[person : person + 1])
    found = adapt_head(
        affine_head(head),
        torch.cat(inputs, dim=1),
        ObjectiveGradient(objective, evidence),
        schedule,
        output=as_output,
    )
    updates = int(computed[f"{prefix}updates"][person])
    assert found.steps == found.best_step == updates
    assert found.stop_reason == (CONVERGED if updates < 15 else OUT_OF_STEPS)
    losses = computed[f"{prefix}losses_2d"][person][:updates]
    assert np.abs(np.array(found.loss_history[:updates]) / losses - 1).max() < tolerance(name, 2e-5)
    last = last_of(found)
    camera = CAMERAS[name.partition("_")[0]](last.camera, evidence.view)
    results = {"rotations": last.rotations, "betas": last.betas, "translation": camera.translation}
    for what, value in results.items():
        expected = computed[f"{prefix}last_{what}"][person]
        assert relative(value[0], expected) < tolerance(name, 2e-5), what


def last_of(result: AdaptationResult) -> HeadOutput:
    last = result.outputs[-1]
    assert isinstance(last, HeadOutput)
    return last


def test_with_nothing_frozen_the_plain_step_moves_the_head_alone(
    goldens: Goldens, body: Body
) -> None:
    name = "cliff_resnet"
    state, computed = goldens.state(name, "main"), goldens.computed(name)
    network = recognise(state).load(state, iterations=ITERATIONS["main"]).network
    network.requires_grad_(False)
    objective = objective_of(name, body)
    evidence = of_person(evidence_of(goldens, objective, computed), 0)
    inputs = {key: value[:1] for key, value in goldens.inputs().items()}

    def losses(parameters: dict[str, Tensor], names: object) -> tuple[dict[str, Tensor], object]:
        output = torch.func.functional_call(network, parameters, (inputs,))
        values = objective.losses(output, evidence, names)  # type: ignore[arg-type]
        return {key: value[0] for key, value in values.items()}, output

    schedule = named_schedule("release").limited_to(1)
    start = dict(network.named_parameters())
    found = adapt(start, losses, schedule, head_prefix="head.")
    assert np.abs(np.array(found.loss_history) / computed["all_losses_2d"][0] - 1).max() < 2e-5
    moved = {key for key, value in found.parameters.items() if not torch.equal(value, start[key])}
    layers = {"fc1", "fc2", "decpose", "decshape", "deccam"}
    assert {key.split(".")[1] for key in moved} == layers
    assert all(key.startswith("head.") for key in moved)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kept_iterates_give_the_kept_losses(goldens: Goldens, body: Body, name: str) -> None:
    """By definition in NumPy: the release's 2D loss and cameras, apart from the objective."""
    computed, people, arrays = goldens.computed(name), goldens.people, body.arrays()
    points = keypoint_regressor(body, BODY_25)
    for person in PERSONS:
        center, height = people["box_center"][person], people["box_scale"][person] * 200
        middle, focal = people["image_size"][person] / 2, people["focal_length"][person]
        for step in range(0, int(computed["updates"][person]), 5):
            s, x, y = computed["step_camera"][person, step].astype(float)
            if name.startswith("hmr"):
                place, middle = np.array([x, y, 2 * 5000 / (256 * s)]), center
                focal = 5000 * height / 256
            else:
                shift = 2 * (center - middle) / (height * s)
                place = np.array([x + shift[0], y + shift[1], 2 * focal / (height * s)])
            one = person, slice(step, step + 1)
            rotations, betas = computed["step_rotations"][one], computed["step_betas"][one]
            vertices, joints = pose_arrays(arrays, rotations, betas)
            placed = (
                points.joint_rows.numpy() @ joints[0] + points.vertex_rows.numpy() @ vertices[0]
            )
            placed = placed + place
            pixels = placed[:, :2] / placed[:, 2:] * focal + middle
            off = (pixels - people["keypoints"][person, :, :2]) / (np.array([0.75, 1]) * height / 2)
            loss = (people["keypoints"][person, :, 2:] * off**2).sum() / (49 * 2)
            expected = computed["losses_2d"][person, step]
            assert abs(loss / expected - 1) < tolerance(name, 2e-5)
