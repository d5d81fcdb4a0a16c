import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr.camera import (
    CAMERAS,
    CROP_HEIGHT,
    CROP_WIDTH,
    View,
    box_info,
    cliff_camera,
    default_focal_length,
    half_crop,
    hmr_camera,
    image_camera,
    image_center,
    image_to_crop,
    keypoint_box,
    project,
    project_to_crop,
)
from dualhmr.crop import crop_convention, crop_to_image_affine

WIDTH, HEIGHT = 1280, 720


def random_view(persons: int = 5) -> View:
    rng = np.random.default_rng(0)
    return View(
        torch.from_numpy(rng.uniform([0, 0], [WIDTH, HEIGHT], (persons, 2))),
        torch.from_numpy(rng.uniform(50, 600, persons)),
        torch.full((persons,), default_focal_length(WIDTH, HEIGHT), dtype=torch.float64),
        torch.tensor(image_center(WIDTH, HEIGHT), dtype=torch.float64).expand(persons, 2),
    )


def random_crop_cameras(persons: int = 5) -> Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform([0.5, -0.3, -0.3], [1.2, 0.3, 0.3], (persons, 3)))


def random_points(persons: int = 5, count: int = 8) -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(0, 0.5, (persons, count, 3)))


def moved(view: View, shift: Tensor) -> View:
    return view._replace(
        box_center=view.box_center + shift, principal_point=view.principal_point + shift
    )


def enlarged(view: View, factor: float) -> View:
    return View(*(number * factor for number in view))


def test_focal_length_is_the_diagonal() -> None:
    assert default_focal_length(300, 400) == 500
    assert image_center(300, 401) == (150, 200.5)


def test_a_guess_of_the_focal_length_by_its_name() -> None:
    for width, height in ((1280, 720), (720, 1280)):
        focal_length, _ = image_camera(width, height, None, None, default="hmr2")
        assert focal_length == pytest.approx(5000 * 1280 / 256)
        assert image_camera(width, height, None, None)[0] == math.hypot(width, height)
        assert image_camera(width, height, 900, None, default="hmr2")[0] == 900


def test_box_surrounds_the_keypoints_with_a_margin() -> None:
    tall = torch.tensor([[10.0, 20.0], [20.0, 120.0], [15.0, 40.0]])
    wide = torch.tensor([[0.0, 50.0], [90.0, 60.0], [30.0, 70.0]])
    center, height = keypoint_box(torch.stack([tall, wide]), torch.ones(2, 3))
    assert center.tolist() == [[15, 70], [45, 60]]
    # 100 high; 90 wide, which is 120 high in the crop's shape.
    torch.testing.assert_close(height, torch.tensor([120.0, 144.0]))


@pytest.mark.parametrize("nowhere", [0.0, -1e6, 1e6, math.nan])
def test_box_ignores_missing_keypoints(nowhere: float) -> None:
    keypoints = random_points()[..., :2] * 100
    confidence = torch.ones(5, 8, dtype=torch.float64)
    confidence[:, 4:] = 0
    hidden = keypoints.clone()
    hidden[:, 4:] = nowhere
    center, height = keypoint_box(hidden, confidence)
    expected_center, expected_height = keypoint_box(keypoints[:, :4], confidence[:, :4])
    torch.testing.assert_close(center, expected_center)
    torch.testing.assert_close(height, expected_height)


def test_box_is_the_same_however_sure_the_keypoints_are() -> None:
    keypoints = random_points()[..., :2]
    unsure = keypoint_box(keypoints, torch.full((5, 8), 1e-3))
    for found, expected in zip(unsure, keypoint_box(keypoints, torch.ones(5, 8)), strict=True):
        torch.testing.assert_close(found, expected)


def test_box_of_no_keypoint_and_of_one() -> None:
    keypoints = torch.tensor([[[3.0, 4.0], [5.0, 6.0]]]).expand(2, 2, 2)
    center, height = keypoint_box(keypoints, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert center[0].isnan().all()
    assert center[1].tolist() == [3, 4]
    assert height[1] == 0


def test_box_info_and_camera_are_those_of_cliff() -> None:
    view, crop_cameras = random_view(), random_crop_cameras()
    camera = cliff_camera(crop_cameras, view)
    for person in range(5):
        (cx, cy), b = view.box_center[person].tolist(), float(view.box_height[person])
        focal = math.sqrt(WIDTH**2 + HEIGHT**2)
        info = [
            (cx - WIDTH / 2) / focal * 2.8,
            (cy - HEIGHT / 2) / focal * 2.8,
            (b - 0.24 * focal) / (0.06 * focal),
        ]
        np.testing.assert_allclose(box_info(view)[person], info, rtol=1e-12)
        s, tx, ty = crop_cameras[person].tolist()
        bs = b * s + 1e-9
        expected = [tx + 2 * (cx - WIDTH / 2) / bs, ty + 2 * (cy - HEIGHT / 2) / bs, 2 * focal / bs]
        np.testing.assert_allclose(camera.translation[person], expected, rtol=1e-12)
        x, y, z = (random_points()[person, 0] + camera.translation[person]).tolist()
        pixel = [focal * x / z + WIDTH / 2, focal * y / z + HEIGHT / 2]
        np.testing.assert_allclose(project(random_points(), camera)[person, 0], pixel, rtol=1e-12)


def test_cliff_puts_the_origin_on_the_box_centre() -> None:
    view, crop_cameras = random_view(), random_crop_cameras()
    crop_cameras[:, 1:] = 0
    origin = torch.zeros(5, 1, 3, dtype=torch.float64)
    camera = cliff_camera(crop_cameras, view)
    torch.testing.assert_close(project(origin, camera)[:, 0], view.box_center)
    zero = torch.zeros(5, 1, 2, dtype=torch.float64)
    torch.testing.assert_close(project_to_crop(origin, camera, view), zero, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["cliff", "hmr"])
def test_a_scale_of_one_makes_the_box_two_metres_high(name: str) -> None:
    view = random_view()
    crop_camera = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(5, 3)
    ends = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64).expand(5, 2, 3)
    seen = project_to_crop(ends, CAMERAS[name](crop_camera, view), view)
    expected = torch.tensor([[0.0, -1.0], [0.0, 1.0]], dtype=torch.float64).expand(5, 2, 2)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-9)


def test_camera_and_crop_are_those_of_spin() -> None:
    """SPIN's formulas, for its square crops of 224 pixels."""
    view, crop_cameras, points = random_view(), random_crop_cameras(), random_points()
    size = crop_convention("spin").size
    seen = project_to_crop(points, hmr_camera(crop_cameras, view, size), view, size)
    for person in range(5):
        s, tx, ty = crop_cameras[person].tolist()
        placed = points[person].numpy() + np.array([tx, ty, 2 * 5000 / (224 * s + 1e-9)])
        np.testing.assert_allclose(
            seen[person], 5000 * placed[:, :2] / placed[:, 2:] / 112, rtol=0, atol=1e-12
        )
    corner = view.box_center + view.box_height[:, None] / 2
    torch.testing.assert_close(
        image_to_crop(corner[:, None], view, size), torch.ones(5, 1, 2, dtype=torch.float64)
    )


def test_the_square_box_of_spin() -> None:
    people = torch.tensor([[[10.0, 20.0], [40.0, 100.0]], [[0.0, 0.0], [60.0, 30.0]]])
    size = crop_convention("spin").size
    center, height = keypoint_box(people, torch.ones(2, 2), size=size, margin=1.1)
    torch.testing.assert_close(center, torch.tensor([[25.0, 60.0], [30.0, 15.0]]))
    torch.testing.assert_close(height, torch.tensor([80 * 1.1, 60 * 1.1]))


@pytest.mark.parametrize("name", ["cliff", "hmr"])
def test_points_in_the_plane_of_the_body_are_seen_in_weak_perspective(name: str) -> None:
    view, crop_cameras, points = random_view(), random_crop_cameras(), random_points()
    points[..., 2] = 0
    seen = project_to_crop(points, CAMERAS[name](crop_cameras, view), view)
    weak = crop_cameras[:, None, :1] * (points[..., :2] + crop_cameras[:, None, 1:])
    weak[..., 0] *= CROP_HEIGHT / CROP_WIDTH
    torch.testing.assert_close(seen, weak, rtol=0, atol=1e-9)


def test_camera_is_that_of_hmr() -> None:
    view, crop_cameras, points = random_view(), random_crop_cameras(), random_points()
    seen = project_to_crop(points, hmr_camera(crop_cameras, view), view)
    for person in range(5):
        s, tx, ty = crop_cameras[person].tolist()
        placed = points[person].numpy() + np.array([tx, ty, 2 * 5000 / (256 * s + 1e-9)])
        expected = 5000 * placed[:, :2] / placed[:, 2:] / [192 / 2, 256 / 2]
        np.testing.assert_allclose(seen[person], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cliff", "hmr"])
def test_moving_image_and_principal_point_together_changes_nothing(name: str) -> None:
    view, crop_cameras, points = random_view(), random_crop_cameras(), random_points()
    shift = torch.tensor([-31.5, 207.25], dtype=torch.float64)
    here, there = (CAMERAS[name](crop_cameras, v) for v in (view, moved(view, shift)))
    torch.testing.assert_close(there.translation, here.translation)
    torch.testing.assert_close(project(points, there), project(points, here) + shift)
    torch.testing.assert_close(box_info(moved(view, shift)), box_info(view))
    keypoints = random_points()[..., :2] * 300
    torch.testing.assert_close(
        image_to_crop(keypoints + shift, moved(view, shift)), image_to_crop(keypoints, view)
    )


@pytest.mark.parametrize("name", ["cliff", "hmr"])
def test_enlarging_the_image_changes_nothing_in_the_crop(name: str) -> None:
    view, crop_cameras, points = random_view(), random_crop_cameras(), random_points()
    small, large = (CAMERAS[name](crop_cameras, v) for v in (view, enlarged(view, 2.5)))
    torch.testing.assert_close(large.translation, small.translation)
    torch.testing.assert_close(project(points, large), project(points, small) * 2.5)
    torch.testing.assert_close(
        project_to_crop(points, large, enlarged(view, 2.5)), project_to_crop(points, small, view)
    )
    torch.testing.assert_close(box_info(enlarged(view, 2.5)), box_info(view))


def test_boxes_keep_the_shape_of_the_crop() -> None:
    assert half_crop(torch.tensor([256.0])).tolist() == [[96, 128]]


def test_crop_coordinates_agree_with_the_pixels_of_the_crop() -> None:
    view = random_view()
    # The outermost pixel centres lie half a pixel inside of -1 and 1.
    corners = np.array([[0, 0], [CROP_WIDTH - 1, 0], [0, CROP_HEIGHT - 1], [50, 70]])
    expected = (corners + 0.5) / [CROP_WIDTH / 2, CROP_HEIGHT / 2] - 1
    for person in range(5):
        affine = crop_to_image_affine(
            view.box_center[person].numpy(), float(view.box_height[person])
        )
        pixels = corners @ affine[:, :2].T + affine[:, 2]
        one = View(*(number[person : person + 1] for number in view))
        seen = image_to_crop(torch.from_numpy(pixels)[None], one)[0]
        np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cliff", "hmr"])
def test_gradcheck_of_the_projection(name: str) -> None:
    view = random_view(2)

    def seen(crop_cameras: Tensor, points: Tensor) -> Tensor:
        return project_to_crop(points, CAMERAS[name](crop_cameras, view), view)

    given = random_crop_cameras(2).requires_grad_(), random_points(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(seen, given)


def in_numpy(view: View) -> View:
    return View(*(number.numpy() for number in view))


def test_numpy_and_pytorch_compute_alike() -> None:
    view, crop_cameras, points = random_view(), random_crop_cameras(), random_points()
    keypoints, confidence = points[..., :2] * 100, torch.rand(5, 8).round()
    confidence[:, 0] = 1
    pairs = [
        (box_info(in_numpy(view)), box_info(view)),
        (
            image_to_crop(keypoints.numpy(), in_numpy(view)),
            image_to_crop(keypoints, view),
        ),
        *zip(
            keypoint_box(keypoints.numpy(), confidence.numpy()),
            keypoint_box(keypoints, confidence),
            strict=True,
        ),
    ]
    for convention in CAMERAS.values():
        ours = convention(crop_cameras.numpy(), in_numpy(view))
        camera = convention(crop_cameras, view)
        pairs += zip(ours, camera, strict=True)
        pairs.append((project(points.numpy(), ours), project(points, camera)))
    for array, tensor in pairs:
        assert isinstance(array, np.ndarray)
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-12)


def test_single_precision_stays_single() -> None:
    view = View(*(number.astype(np.float32) for number in in_numpy(random_view())))
    keypoints = random_points()[..., :2].numpy().astype(np.float32)
    center, height = keypoint_box(keypoints, np.ones((5, 8), np.float32))
    for array in (center, height, box_info(view), image_to_crop(keypoints, view)):
        assert array.dtype == np.float32
