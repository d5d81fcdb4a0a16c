"""The backbone that looks at the picture with a landmark network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.small_bundle import MANIFEST, SPEC, upright
from torch import Tensor

from dualhmr.body.model import load_body, pose_skeleton
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.body.points import BodyPoints
from dualhmr.bundle import NetworkSpec, open_bundle
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.engines import OnnxRuntimeNetwork
from dualhmr.engines.torch_networks import torch_networks
from dualhmr.example import example
from dualhmr.keypoints import BODY_23
from dualhmr.networks import LandmarkTrunk, MeshRegressor
from dualhmr.networks.landmark_trunk import (
    LANDMARK_KEYPOINTS,
    LANDMARK_NAMES,
    LandmarkEye,
    in_trunk_lengths,
)
from dualhmr.networks.regressor import AUXILIARY_OUTPUTS, FrozenAuxiliary, ImageNormaliser
from dualhmr_export.bundle_folder import write_torch_bundle
from dualhmr_export.onnx_files import export_onnx, in_precision
from dualhmr_training.data.synthetic.batches import SyntheticImages
from dualhmr_training.data.synthetic.detector import noise_only
from dualhmr_training.data.synthetic.people import Population, Viewpoints
from dualhmr_training.data.synthetic.poses import NO_VARIATION

EYE_SPEC = NetworkSpec(
    backbone="landmark_trunk",
    backbone_options={"feature_count": 16, "blocks": 1},
    reads=("image", "keypoints", "box_info"),
    hidden=8,
    iterations=3,
    head_reads_box_info=False,
)


@pytest.fixture(scope="module")
def network() -> MeshRegressor:
    return upright(EYE_SPEC, 0)


@pytest.fixture(scope="module")
def trunk(network: MeshRegressor) -> LandmarkTrunk:
    assert isinstance(network.backbone, LandmarkTrunk)
    return network.backbone


def crops() -> Tensor:
    """Two crops (2, 256, 192, 3) of the example photograph."""
    image = torch.from_numpy(example()[0].copy())
    return torch.stack([image[100:356, 20:212], image[150:406, 60:252]])


def photographed() -> Tensor:
    """The crops, normalised: (2, 3, 256, 192)."""
    maps: Tensor = ImageNormaliser()(crops())
    return maps


def one_colour(value: int) -> Tensor:
    maps: Tensor = ImageNormaliser()(torch.full((2, 256, 192, 3), value, dtype=torch.uint8))
    return maps


def given() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    keypoints = torch.rand(2, 23, 3, generator=generator) - 0.5
    keypoints[..., 2] = 0.9
    return keypoints, torch.tensor([[0.1, -0.2, 2.0], [0.3, 0.0, 5.0]])


def seen() -> Tensor:
    """Landmarks (2, 21, 6) as of an open eye, near the keypoints given."""
    generator = torch.Generator().manual_seed(2)
    landmarks = torch.randn(2, 21, 6, generator=generator)
    landmarks[..., :2] = given()[0][:, list(LANDMARK_KEYPOINTS), :2] + 0.02 * landmarks[..., :2]
    landmarks[..., 5] = 1
    return landmarks


def different(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs().amax(1) > 1e-4).all())


@torch.no_grad()
def test_crops_of_one_colour_close_the_eye(trunk: LandmarkTrunk) -> None:
    keypoints, box_info = given()
    closed = trunk.lift(torch.zeros(2, 21, 6), keypoints, box_info)
    for value in (0, 127, 255):
        assert torch.equal(trunk(one_colour(value), keypoints, box_info), closed)
    # Keypoints where the eye sees them.
    keypoints[:, list(LANDMARK_KEYPOINTS), :2] = trunk.eye(photographed())[..., :2]
    closed = trunk.lift(torch.zeros(2, 21, 6), keypoints, box_info)
    assert different(trunk(photographed(), keypoints, box_info), closed)


@torch.no_grad()
def test_landmarks_far_from_the_keypoints_are_ignored(trunk: LandmarkTrunk) -> None:
    keypoints, box_info = given()
    closed = trunk.lift(torch.zeros(2, 21, 6), keypoints, box_info)
    far = seen()
    far[..., 1] += 0.4  # two tenths of the crop's height
    assert torch.equal(trunk.lift(far, keypoints, box_info), closed)
    nearer = seen()
    nearer[..., 1] += 0.12
    assert different(trunk.lift(nearer, keypoints, box_info), closed)
    # Without keypoints there is nothing to be far from.
    keypoints[..., 2] = 0
    closed = trunk.lift(torch.zeros(2, 21, 6), keypoints, box_info)
    assert different(trunk.lift(far, keypoints, box_info), closed)


@torch.no_grad()
def test_all_that_is_read_counts(trunk: LandmarkTrunk) -> None:
    keypoints, box_info = given()
    base = trunk.lift(seen(), keypoints, box_info)
    for number in range(6):
        changed = seen()
        changed[:, 3, number] += 0.2
        if number == 5:
            changed[..., 5] = 0.5
        assert different(trunk.lift(changed, keypoints, box_info), base), number
    assert different(trunk.lift(seen(), keypoints, box_info + 1), base)
    moved = keypoints.clone()
    moved[:, 5, 0] += 0.2
    assert different(trunk.lift(seen(), moved, box_info), base)


@torch.no_grad()
def test_where_missing_keypoints_lie_does_not_matter(trunk: LandmarkTrunk) -> None:
    keypoints, box_info = given()
    keypoints[:, 7, 2] = 0
    elsewhere = keypoints.clone()
    elsewhere[:, 7, :2] = torch.tensor([-7.0, 1e20])
    same = (trunk.lift(seen(), each, box_info) for each in (keypoints, elsewhere))
    assert torch.equal(*same)


@torch.no_grad()
def test_a_person_alone_is_as_in_company(trunk: LandmarkTrunk) -> None:
    inputs = (photographed(), *given())
    together = trunk(*inputs)
    for person in range(2):
        alone = trunk(*(each[person : person + 1] for each in inputs))
        torch.testing.assert_close(alone[0], together[person], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_eye_finds_rendered_people() -> None:
    """In the crop's coordinates, and with depth away from the camera."""
    body, pose = load_body(), torch.zeros(1, 24, 3)
    pose[0, 16, 2], pose[0, 17, 2] = -1.2, 1.2  # arms down
    population = Population(
        poses=NO_VARIATION, viewpoints=Viewpoints(tilted=0), detector=noise_only(0)
    )
    people, images = next(iter(SyntheticImages(body, pose, population, seed=3, batch=8)))
    landmarks = LandmarkEye()(ImageNormaliser()(images))
    assert (landmarks[..., 5] > 0.9).all()
    rows = list(LANDMARK_KEYPOINTS)
    halves = torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / 2
    off = ((landmarks[..., :2] - people.keypoints[:, rows]) * halves).norm(dim=-1)
    found = off.median(1).values < 0.05 * CROP_HEIGHT
    assert found.sum() >= 5
    points = BodyPoints(body, keypoint_regressor(body, BODY_23))(
        pose_skeleton(body, people.rotations, people.betas)
    )
    true, said = (in_trunk_lengths(each)[found] for each in (points[:, rows], landmarks[..., 2:5]))
    flipped = said * torch.tensor([1.0, 1.0, -1.0])
    error, error_flipped = ((each - true).norm(dim=-1).mean() for each in (said, flipped))
    assert error < 0.4
    assert error_flipped > 1.3 * error


def test_trunk_lengths_have_no_place_and_no_size() -> None:
    points = seen()[..., 2:5]
    moved = 3 * points + torch.tensor([1.0, -2.0, 5.0])
    torch.testing.assert_close(in_trunk_lengths(moved), in_trunk_lengths(points))
    shoulders = [LANDMARK_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
    middle = in_trunk_lengths(points)[:, shoulders].mean(1)
    torch.testing.assert_close(middle.norm(dim=-1), torch.ones(2))


def test_other_keypoints_are_refused(trunk: LandmarkTrunk) -> None:
    keypoints, box_info = given()
    with pytest.raises(ValueError, match=r"keypoints \(N, 23, 3\), got \(2, 17, 3\)"):
        trunk.lift(seen(), keypoints[:, :17], box_info)


@torch.no_grad()
def test_bundles_do_not_hold_the_landmark_network(network: MeshRegressor, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    manifest = replace(MANIFEST, auxiliary=EYE_SPEC)
    write_torch_bundle(folder, upright(SPEC, 1), network, manifest)
    assert (folder / "auxiliary.safetensors").stat().st_size < 50_000
    _, opened = torch_networks(open_bundle(folder))
    keypoints, box_info = given()
    inputs = {"image": crops(), "keypoints": keypoints, "box_info": box_info}
    for one, other in zip(network(inputs), opened(inputs), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_onnx_computes_the_same_with_the_eye_open_and_closed(
    network: MeshRegressor, tmp_path: Path
) -> None:
    keypoints, box_info = given()
    inputs = {"image": crops(), "keypoints": keypoints, "box_info": box_info}
    path = tmp_path / "auxiliary.onnx"
    exported = in_precision(network, "fp32", inputs)
    frozen = FrozenAuxiliary(exported)
    export_onnx(frozen, inputs, AUXILIARY_OUTPUTS, path, opset=18, stored=torch.float16)
    assert path.stat().st_size < 8e6
    closed = inputs | {"image": torch.full_like(inputs["image"], 90)}
    for each in (inputs, closed):
        found = OnnxRuntimeNetwork(path)({name: value.numpy() for name, value in each.items()})
        output = network(each)
        for name, values in found.items():
            expected = getattr(output, name)
            torch.testing.assert_close(torch.from_numpy(values), expected, rtol=1e-4, atol=1e-4)
