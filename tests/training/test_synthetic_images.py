"""Pictures of synthetic people, held to the people that they are of."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.utils._pytree as pytree
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import DataLoader

from dualhmr.body import (
    JOINT_NAMES,
    Body,
    BodyPoints,
    PointRegressor,
    load_body,
    skin,
)
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, FullCamera, box_info, half_crop, project_to_crop
from dualhmr.keypoints import BODY_23, BODY_25, SPIN_24
from dualhmr.rendering.shading import vertex_normals
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.samples import Sample
from dualhmr_training.spin_joints import spin_24_regressor
from dualhmr_training.synthetic.degradations import Degradation, degrade
from dualhmr_training.synthetic.images import PHOTO_DIAGONAL_PX, SyntheticImages, people_to_samples
from dualhmr_training.synthetic.noise import GRAIN, ROUGH, SMOOTH, noise_fields, noise_window
from dualhmr_training.synthetic.occluders import occluder
from dualhmr_training.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.synthetic.poses import Dice
from dualhmr_training.synthetic.rendering import Appearance, Crops, draw_crops, render_people
from dualhmr_training.synthetic.surfaces import _normals, visible_surfaces
from dualhmr_training.synthetic.textures import pattern

COUNT = 60
FAULTLESS = Degradation(few_pixels=0, noisy=0, colour=0, grey=0, jpeg=0)
BARE = Appearance(clutter=0, bystander=0, occluded=0, degradation=FAULTLESS)
INTERIOR = [
    BODY_23.index(f"{side}_{part}")
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "hip", "knee", "ankle")
]


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def make_pool() -> Tensor:
    return 0.25 * torch.randn(40, 24, 3, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def people(body: Body) -> People:
    return PeopleSampler(body, make_pool(), Population(), seed=5).sample(COUNT)


@pytest.fixture(scope="module")
def crops(body: Body, people: People) -> Crops:
    return draw_crops(body, people, Appearance(), Dice(1))


@pytest.fixture(scope="module")
def data(body: Body) -> SyntheticImages:
    return SyntheticImages(body, make_pool(), seed=7, batch=4)


@pytest.fixture(scope="module")
def batch(data: SyntheticImages) -> Sample:
    return next(iter(data))


def tensors_of(sample: Sample) -> list[Tensor]:
    return [*sample[:-1], *sample.view]


def alike(one: Sample, other: Sample) -> bool:
    return all(map(torch.equal, tensors_of(one), tensors_of(other)))


def to_pixels(points: Tensor) -> Tensor:
    """Normalised crop coordinates (..., 2) -> crop pixels, pixel centres at whole numbers."""
    return (points + 1) * torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / 2 - 0.5


def in_photo(people: People, *, margin_px: float) -> Tensor:
    """(N, 256, 192) bool: crop pixels in the photograph, with a margin in crop pixels."""
    half = half_crop(people.view.box_height)
    inside = []
    for axis, size in ((1, CROP_HEIGHT), (0, CROP_WIDTH)):
        place = (torch.arange(size) + 0.5) * 2 / size - 1
        seen = place * half[:, axis, None] + people.view.box_center[:, axis, None]
        margin = margin_px * 2 / size * half[:, axis, None]
        inside.append(seen.abs() < people.half_image[:, axis, None] - margin)
    return inside[0][:, :, None] & inside[1][:, None]


def test_shapes(crops: Crops) -> None:
    assert crops.images.shape == (COUNT, 256, 192, 3)
    assert crops.images.dtype == torch.uint8
    for mask in (crops.person, crops.occluded):
        assert mask.shape == (COUNT, 256, 192)
        assert mask.dtype == torch.bool


def test_keypoints_land_on_the_person(people: People, crops: Crops) -> None:
    place = to_pixels(people.keypoints[:, INTERIOR])
    size = torch.tensor([CROP_WIDTH, CROP_HEIGHT])
    x, y = place.round().long().minimum(size - 1).clamp(min=0).unbind(-1)
    person = torch.arange(COUNT)[:, None].expand_as(x)
    visible = in_photo(people, margin_px=1)[person, y, x]
    visible &= ((place > 0) & (place < size - 1)).all(-1)
    assert visible.sum() > 5 * COUNT
    assert crops.person[person, y, x][visible].double().mean() > 0.99


def test_the_person_is_where_its_triangles_are(body: Body, people: People, crops: Crops) -> None:
    camera = FullCamera(people.translation, people.view.focal_length, people.view.principal_point)
    vertices = skin(body, people.rotations, people.betas).vertices
    near = (vertices + people.translation[:, None])[..., 2].amin(1) < 0.2
    place = to_pixels(project_to_crop(vertices, camera, people.view)).double().numpy()
    photo = in_photo(people, margin_px=0.5).numpy()
    for i in [i for i in range(COUNT) if not near[i]][:5]:
        drawn = Image.new("L", (CROP_WIDTH, CROP_HEIGHT))
        pen = ImageDraw.Draw(drawn)
        for triangle in place[i][body.faces.numpy()]:
            pen.polygon([*map(tuple, triangle)], fill=1)
        expected, person = (np.asarray(drawn) > 0) & photo[i], crops.person[i].numpy()
        # Pillow also fills the pixels that an edge only touches, all around the outline.
        assert (person & ~expected).sum() <= 0.01 * person.sum()
        assert person.sum() > 0.85 * expected.sum()


def test_the_photograph_ends_in_black(people: People, crops: Crops) -> None:
    outside = ~in_photo(people, margin_px=0)
    assert 0.2 < outside.flatten(1).any(1).double().mean() < 0.95
    assert not crops.images[outside].any()
    assert not crops.person[outside].any()
    inside = in_photo(people, margin_px=1.5)
    assert crops.images[inside].any(-1).double().mean() > 0.9


def test_each_pixel_shows_a_point_that_faces_the_camera(body: Body, people: People) -> None:
    shares = [(surface.normal[2] < 0.3).mean() for surface in visible_surfaces(body, people)]
    assert np.mean(shares) > 0.9


def test_pixels_know_their_place_on_the_body(body: Body, people: People) -> None:
    joint = body.joint_template[JOINT_NAMES.index("left_knee")]
    place = to_pixels(people.keypoints[:, BODY_23.index("left_knee")]).round().long()
    found = 0
    for (x, y), surface in zip(place.tolist(), visible_surfaces(body, people), strict=True):
        if 0 <= x < CROP_WIDTH and 0 <= y < CROP_HEIGHT:
            at = np.flatnonzero(surface.pixels == y * CROP_WIDTH + x)
            found += bool(np.abs(surface.template[:, at].T - joint.numpy()).max() < 0.15)
    # Sometimes something else is before the knee.
    assert found > 0.5 * COUNT


def test_normals_are_those_of_the_sdk(body: Body) -> None:
    points, faces = body.v_template.numpy(), body.faces.numpy()
    np.testing.assert_allclose(_normals(points, faces), vertex_normals(points, faces), atol=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_an_occluder_hides_the_stated_share(crops: Crops, share: float) -> None:
    person = crops.person[0].numpy()
    hidden = [
        (occluder(np.random.default_rng(seed), person, share) & person).sum() / person.sum()
        for seed in range(40)
    ]
    np.testing.assert_allclose(hidden, share, atol=0.03)


def test_nobody_to_hide() -> None:
    nobody = np.zeros((CROP_HEIGHT, CROP_WIDTH), np.bool_)
    assert not occluder(np.random.default_rng(0), nobody, 0.5).any()


def test_people_are_occluded_as_often_and_as_much_as_stated(body: Body, people: People) -> None:
    def hidden(appearance: Appearance) -> Tensor:
        drawn = draw_crops(body, people, appearance, Dice(2))
        both = (drawn.occluded & drawn.person).flatten(1).sum(1)
        return both / drawn.person.flatten(1).sum(1).clamp(min=1)

    always = hidden(replace(BARE, occluded=1.0, max_hidden=0.4))
    assert 0.14 < always.mean() < 0.26
    assert always.max() < 0.45
    assert not hidden(BARE).any()
    assert 0.25 < (hidden(replace(BARE, occluded=0.5)) > 0).double().mean() < 0.75


def test_the_same_dice_draw_the_same_pictures(body: Body, people: People) -> None:
    few: People = pytree.tree_map_only(Tensor, lambda part: part[:4], people)
    one, again, other = (render_people(body, few, Appearance(), Dice(s)) for s in (1, 1, 2))
    assert torch.equal(one, again)
    differs = (one != other).any(-1).flatten(1).double().mean(1)
    assert (differs > 0.3).all()


def test_pictures_vary(crops: Crops) -> None:
    mean = crops.images.double().flatten(1, 2).mean(1)
    assert mean.std(0).min() > 20
    assert crops.images.double().flatten(1).std(1).median() > 20


def test_the_same_seed_gives_the_same_batches(body: Body, data: SyntheticImages) -> None:
    again = SyntheticImages(body, make_pool(), seed=7, batch=4)
    first, second = (list(itertools.islice(source, 2)) for source in (data, again))
    assert all(map(alike, first, second))
    assert not alike(first[0], first[1])
    other = SyntheticImages(body, make_pool(), seed=8, batch=4)
    assert not torch.equal(next(iter(other)).rotvecs, first[0].rotvecs)


def test_the_look_of_people_changes_nothing_else(body: Body, batch: Sample) -> None:
    bare = next(iter(SyntheticImages(body, make_pool(), appearance=BARE, seed=7, batch=4)))
    assert not torch.equal(bare.image, batch.image)
    assert alike(bare._replace(image=batch.image), batch)


def test_a_stream_can_go_on_where_it_ended(body: Body, data: SyntheticImages) -> None:
    third = next(itertools.islice(data, 2, None))
    resumed = SyntheticImages(body, make_pool(), seed=7, batch=4, start=2)
    assert alike(next(iter(resumed)), third)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_take_turns_at_the_same_batches(data: SyntheticImages) -> None:
    loader = DataLoader(data, batch_size=None, num_workers=2)
    together, alone = (list(itertools.islice(source, 4)) for source in (loader, data))
    for one, other in zip(together, alone, strict=True):
        # Other numbers of threads may round otherwise.
        assert (one.image == other.image).double().mean() > 0.99
        for found, expected in zip(tensors_of(one)[1:], tensors_of(other)[1:], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    for one, other in itertools.combinations(together, 2):
        assert not torch.equal(one.rotvecs, other.rotvecs)
        assert not torch.equal(one.image, other.image)


def test_a_batch_is_a_sample(batch: Sample) -> None:
    shapes = [tuple(tensor.shape) for tensor in batch[:-1]]
    assert shapes == [
        (4, 256, 192, 3),
        (4, 49, 2),
        (4, 49),
        (4, 24, 3),
        (4, 24),
        (4, 24, 3),
        (4, 10),
        (4,),
    ]
    assert [tuple(tensor.shape) for tensor in batch.view] == [(4, 2), (4,), (4,), (4, 2)]
    assert batch.image.dtype == torch.uint8
    assert batch.has_mesh.dtype == torch.bool
    assert batch.has_mesh.all()
    assert all(tensor.isfinite().all() for tensor in tensors_of(batch))


@pytest.fixture(scope="module")
def samples(body: Body, people: People, crops: Crops) -> Sample:
    return people_to_samples(body, people, crops.images, BodyPoints(body, spin(body)))


def spin(body: Body) -> PointRegressor:
    return spin_24_regressor(body, None)


def test_the_first_25_keypoints_are_detected_and_the_rest_true(
    body: Body, people: People, samples: Sample
) -> None:
    available = spin(body).available
    assert not samples.confidence[:, 25:][:, ~available].any()
    for name in BODY_23.names:
        row, at = BODY_23.index(name), BODY_25.index(name)
        known = people.confidence[:, row] > 0
        assert torch.equal(samples.confidence[:, at], people.confidence[:, row])
        assert torch.equal(samples.keypoints[known, at], people.detected[known, row])
        if name in SPIN_24.names:
            at = 25 + SPIN_24.index(name)
            known = samples.confidence[:, at] > 0
            true, found = people.keypoints[known, row], samples.keypoints[known, at]
            torch.testing.assert_close(found, true, rtol=0, atol=1e-4)


def test_true_keypoints_are_known_where_the_photograph_shows_them(
    people: People, samples: Sample
) -> None:
    at = BODY_23.index("left_knee")
    offset = people.keypoints[:, at] * half_crop(people.view.box_height)
    seen = (offset + people.view.box_center).abs() < people.half_image
    known = samples.confidence[:, 25 + SPIN_24.index("left_knee")] > 0
    assert torch.equal(known, seen.all(-1) & people.in_view[:, at])


def test_neck_and_middle_of_the_hips_are_midpoints(samples: Sample) -> None:
    for middle, end in (("neck", "shoulder"), ("mid_hip", "hip")):
        at = BODY_25.index(middle)
        left, right = (BODY_25.index(f"{side}_{end}") for side in ("left", "right"))
        known = samples.confidence[:, at] > 0
        ends = (samples.keypoints[:, left] + samples.keypoints[:, right]) / 2
        assert known.any()
        torch.testing.assert_close(samples.keypoints[known, at], ends[known])
        both = (samples.confidence[:, [left, right]] > 0).all(1)
        assert torch.equal(known, both)


def test_poses_and_joints_are_those_of_the_people(
    body: Body, people: People, samples: Sample
) -> None:
    rotations = rotvec_to_rotmat(samples.rotvecs)
    torch.testing.assert_close(rotations, people.rotations, rtol=0, atol=1e-4)
    assert torch.equal(samples.betas, people.betas)
    posed = skin(body, people.rotations, people.betas)
    expected = spin(body).from_mesh(posed.vertices, posed.joints)
    known = samples.joints_3d_confidence > 0
    assert known.sum(1).unique().tolist() == [17]
    torch.testing.assert_close(samples.joints_3d[known], expected[known], rtol=0, atol=1e-4)


def test_the_view_in_pixels_is_the_view_of_the_people(people: People, samples: Sample) -> None:
    torch.testing.assert_close(box_info(samples.view), box_info(people.view), rtol=0, atol=1e-4)
    diagonal = 2 * samples.view.principal_point.norm(dim=-1)
    torch.testing.assert_close(diagonal, torch.full_like(diagonal, PHOTO_DIAGONAL_PX))
    assert torch.equal(samples.view.focal_length, torch.full((COUNT,), PHOTO_DIAGONAL_PX))


def test_a_faultless_camera_leaves_a_flat_picture_as_it_is() -> None:
    flat = np.full((CROP_HEIGHT, CROP_WIDTH, 3), (200, 90, 10), np.uint8)
    for seed in range(5):
        taken = degrade(np.random.default_rng(seed), flat, FAULTLESS)
        assert np.abs(taken.astype(int) - flat).max() <= 1


def test_a_bad_camera_keeps_size_and_rough_content(crops: Crops) -> None:
    bad = Degradation(few_pixels=1, noisy=1, colour=0.1, grey=1, jpeg=1)
    picture = crops.images[0].numpy()
    taken = degrade(np.random.default_rng(0), picture, bad)
    assert taken.shape == picture.shape
    assert taken.dtype == np.uint8
    assert np.corrcoef(taken.mean(-1).flat, picture.mean(-1).flat)[0, 1] > 0.8


@pytest.mark.parametrize("exponents", [GRAIN, ROUGH, SMOOTH])
def test_noise_fields_are_standard_and_periodic(exponents: tuple[float, ...]) -> None:
    fields = noise_fields(exponents)
    np.testing.assert_allclose(fields.mean((1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(fields.std((1, 2)), 1, atol=1e-3)
    step = np.abs(np.diff(fields, axis=1)).mean((1, 2))
    seam = np.abs(fields[:, 0] - fields[:, -1]).mean(1)
    assert (seam < 1.6 * step).all()
    assert noise_window(np.random.default_rng(0), exponents).shape == (CROP_HEIGHT, CROP_WIDTH)


def test_patterns_repeat() -> None:
    u, v = np.meshgrid(*[np.arange(60, dtype=np.float32)] * 2)
    periodic = 0
    for seed in range(40):
        marks = pattern(np.random.default_rng(seed), u + 0.5, v + 0.5, 20.0)
        assert marks.shape == u.shape
        assert ((marks >= 0) & (marks <= 1)).all()
        periodic += np.array_equal(marks[:40, :40], marks[20:, 20:])
    assert periodic > 20


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"seed": -1}, {"start": -1}])
def test_a_wrong_batch_or_seed_is_an_error(body: Body, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1, 0 and 0"):
        SyntheticImages(body, make_pool(), **{"seed": 0, **wrong})
