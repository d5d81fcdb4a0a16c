"""Pictures of synthetic people, held to the people that they are of."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.utils._pytree as pytree
from PIL import Image, ImageDraw
from torch import Tensor

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.body.model import Body, load_body, skin
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, FullCamera, half_crop, project_to_crop
from dualhmr.keypoints import BODY_23
from dualhmr.rendering.meshes import vertex_normals
from dualhmr_training.data.synthetic.degradations import Appearance, Degradation, degrade
from dualhmr_training.data.synthetic.people import People, PeopleSampler, Population
from dualhmr_training.data.synthetic.poses import SeededRandom
from dualhmr_training.data.synthetic.rendering import Crops, render_people
from dualhmr_training.data.synthetic.surfaces import VisibleSurfaces, _normals
from dualhmr_training.data.synthetic.surroundings import occluder
from dualhmr_training.data.synthetic.textures import (
    GRAIN,
    ROUGH,
    SMOOTH,
    noise_fields,
    noise_window,
    pattern,
)

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
    return render_people(body, people, Appearance(), SeededRandom(1))


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
    surfaces = VisibleSurfaces(body, people)
    shares = [(surfaces.of(i).normal[2] < 0.3).mean() for i in range(COUNT)]
    assert np.mean(shares) > 0.9


def test_pixels_know_their_place_on_the_body(body: Body, people: People) -> None:
    joint = body.joint_template[JOINT_NAMES.index("left_knee")]
    place = to_pixels(people.keypoints[:, BODY_23.index("left_knee")]).round().long()
    found = 0
    surfaces = VisibleSurfaces(body, people)
    for i, (x, y) in enumerate(place.tolist()):
        surface = surfaces.of(i)
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
        drawn = render_people(body, people, appearance, SeededRandom(2))
        both = (drawn.occluded & drawn.person).flatten(1).sum(1)
        return both / drawn.person.flatten(1).sum(1).clamp(min=1)

    always = hidden(replace(BARE, occluded=1.0, max_hidden=0.4))
    assert 0.14 < always.mean() < 0.26
    assert always.max() < 0.45
    assert not hidden(BARE).any()
    assert 0.25 < (hidden(replace(BARE, occluded=0.5)) > 0).double().mean() < 0.75


def test_the_same_seed_draw_the_same_pictures(body: Body, people: People) -> None:
    few: People = pytree.tree_map_only(Tensor, lambda part: part[:4], people)
    one, again, other = (
        render_people(body, few, Appearance(), SeededRandom(s)).images for s in (1, 1, 2)
    )
    assert torch.equal(one, again)
    differs = (one != other).any(-1).flatten(1).double().mean(1)
    assert (differs > 0.3).all()


def test_some_people_look_as_they_do_among_all(body: Body, people: People, crops: Crops) -> None:
    for only in (slice(1, None, 3), slice(7, 8)):
        some = render_people(body, people, Appearance(), SeededRandom(1), only=only)
        for found, expected in zip(some, crops, strict=True):
            assert torch.equal(found, expected[only])


def test_pictures_vary(crops: Crops) -> None:
    mean = crops.images.double().flatten(1, 2).mean(1)
    assert mean.std(0).min() > 20
    assert crops.images.double().flatten(1).std(1).median() > 20


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
