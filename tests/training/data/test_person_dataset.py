from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.spin_files import HEIGHT, WIDTH, Arrays, everything, photograph, read, write_images
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from dualhmr import load_body
from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import keypoint_regressor
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, View, half_crop
from dualhmr.crop import crop_person
from dualhmr.keypoints import SPIN_24
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.augmentation import KEYPOINT_MIRROR, Augmentation
from dualhmr_training.data.licensed_sets import DATASETS, DatasetSpec
from dualhmr_training.data.person_dataset import BoxSource, Draw, PersonDataset, Sample

COCO, HUMAN36M, THREEDPW = (DATASETS[name] for name in ("coco", "human36m", "threedpw"))
NOT_TINTED = Augmentation(colour=0, occlusion=0, upright=0.3)


def dataset(
    folder: Path,
    arrays: Arrays,
    *,
    spec: DatasetSpec = COCO,
    augmentation: Augmentation | None = None,
    boxes: BoxSource = "file",
    focal_length: str = "diagonal",
    seed: int = 0,
) -> PersonDataset:
    return PersonDataset(
        spec,
        read(folder / "known.npz", arrays),
        folder,
        augmentation=augmentation,
        boxes=boxes,
        focal_length=focal_length,
        seed=seed,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images for `everything()`."""
    path = tmp_path_factory.mktemp("photographs")
    write_images(path, everything())
    return path


def same(first: Sample, second: Sample) -> bool:
    return all(torch.equal(*pair) for pair in zip(first[:-1], second[:-1], strict=True)) and all(
        torch.equal(*pair) for pair in zip(first.view, second.view, strict=True)
    )


def image_px(points: Tensor, view: View) -> Tensor:
    return points * half_crop(view.box_height) + view.box_center


def test_a_sample_has_the_shapes_and_kinds_of_a_sample(folder: Path) -> None:
    people = dataset(folder, everything(), augmentation=Augmentation())
    batch: Sample = default_collate([people[i] for i in range(3)])
    assert isinstance(batch, Sample)
    assert isinstance(batch.view, View)
    shapes = [tuple(tensor.shape) for tensor in batch[:-1]]
    assert shapes == [(3, 256, 192, 3), (3, 49, 2), (3, 49), (3, 24, 3), (3, 24), (3, 24, 3),
                      (3, 10), (3,), (3,)]  # fmt: skip
    assert [tuple(tensor.shape) for tensor in batch.view] == [(3, 2), (3,), (3,), (3, 2)]
    assert batch.image.dtype == torch.uint8
    assert batch.has_mesh.dtype == torch.bool
    assert {t.dtype for t in (*batch[1:-3], *batch.view)} == {torch.float32}


def test_without_augmentation_it_is_the_crop_of_test_time(folder: Path) -> None:
    arrays = everything()
    people = dataset(folder, arrays)
    for person, sample in enumerate(people):
        center, height = arrays["center"][person], arrays["scale"][person] * 200
        crop = crop_person(photograph(person), center, height)
        np.testing.assert_array_equal(sample.image.numpy(), crop)
        view = sample.view
        np.testing.assert_allclose(view.box_center, center, rtol=1e-6)
        assert float(view.box_height) == pytest.approx(height)
        assert float(view.focal_length) == pytest.approx(arrays["focal_length"][person])
        assert view.principal_point.tolist() == [WIDTH / 2, HEIGHT / 2]
        both = np.concatenate([arrays["openpose"][person], arrays["part"][person]])
        np.testing.assert_allclose(image_px(sample.keypoints, view), both[:, :2], atol=1e-3)
        np.testing.assert_allclose(sample.confidence, both[:, 2], rtol=1e-6)
        np.testing.assert_allclose(sample.joints_3d, arrays["S"][person, :, :3], rtol=1e-6)
        np.testing.assert_allclose(sample.rotvecs.flatten(), arrays["pose"][person], rtol=1e-6)
        np.testing.assert_allclose(sample.betas, arrays["shape"][person], rtol=1e-6)
        assert sample.has_mesh
        assert same(sample, people[Draw(person, 99)])


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_what_is_missing_is_masked(folder: Path, augmentation: Augmentation | None) -> None:
    few = {n: a for n, a in everything().items() if n in ("imgname", "center", "scale")}
    people = dataset(folder, few, augmentation=augmentation)
    for number in range(5):
        sample = people[Draw(1, number)]
        assert not sample.confidence.any()
        assert not sample.keypoints.any()
        assert not sample.joints_3d_confidence.any()
        assert not sample.joints_3d.any()
        assert not sample.has_mesh
        assert not sample.rotvecs.any()
        assert float(sample.view.focal_length) == pytest.approx(np.hypot(WIDTH, HEIGHT))
        assert people.gender(1) is None


def test_a_focal_length_that_is_not_annotated_is_a_guess(folder: Path) -> None:
    few = {n: a for n, a in everything().items() if n in ("imgname", "center", "scale")}
    sample = dataset(folder, few, focal_length="hmr2")[0]
    assert float(sample.view.focal_length) == pytest.approx(5000 / 256 * max(WIDTH, HEIGHT))
    known = dataset(folder, everything(), focal_length="hmr2")[0]
    assert float(known.view.focal_length) == pytest.approx(everything()["focal_length"][0])


def test_masks_go_with_what_they_mask(folder: Path) -> None:
    arrays = everything()
    arrays["part"][0, 5, 2] = 0  # left ankle
    arrays["S"][0, 5, 3] = 0
    arrays["openpose"][0, 4, 2] = 0  # right wrist
    mirrored = dataset(folder, arrays, augmentation=Augmentation(mirror=1))[0]
    assert (mirrored.confidence == 0).nonzero().flatten().tolist() == [7, 25]
    assert (mirrored.joints_3d_confidence == 0).nonzero().flatten().tolist() == [0]
    assert not mirrored.keypoints[[7, 25]].any()
    assert not mirrored.joints_3d[0].any()


# Each dot is told from the others by its colour.
DOTS = {
    0: (255, 0, 0), 4: (0, 255, 0), 7: (0, 0, 255), 25: (255, 255, 0), 30: (255, 0, 255),
    38: (0, 255, 255), 34: (255, 255, 255),
}  # fmt: skip


def dotted(folder: Path, *, size: int = 1) -> Arrays:
    """A dot on black for each of these keypoints, in an image `size` times as large."""
    rng = np.random.default_rng(3)
    arrays = everything(count=1) | {"imgname": np.array(["dots.png"])}
    arrays["center"] = np.array([[148.3, 207.8]])
    arrays["scale"] = np.array([1.1])
    both = np.zeros((1, 49, 3))
    x, y = np.meshgrid(np.arange(WIDTH * size), np.arange(HEIGHT * size))
    image = np.zeros((HEIGHT * size, WIDTH * size, 3), np.uint8)
    for number, (row, colour) in enumerate(DOTS.items()):
        angle = number + rng.uniform(-0.1, 0.1)
        place = arrays["center"][0] + rng.uniform(25, 55) * np.array([np.cos(angle), np.sin(angle)])
        place = np.rint((place + 0.5) * size - 0.5)
        image[np.hypot(x - place[0], y - place[1]) < 4 * size + 0.5] = colour
        both[0, row] = *place, 1
    arrays["center"] = (arrays["center"] + 0.5) * size - 0.5
    arrays["scale"] = arrays["scale"] * size
    arrays["openpose"], arrays["part"] = both[:, :25], both[:, 25:]
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / "dots.png")
    return arrays


def found(crop: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """Where in the crop a dot is, in pixels."""
    on = np.array(colour) > 0
    others = crop[..., ~on].max(axis=-1, initial=0)
    weight = (crop[..., on].min(axis=-1).astype(float) - others).clip(0)
    v, u = np.mgrid[: crop.shape[0], : crop.shape[1]]
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


def check_dots(sample: Sample, *, mirrored: bool) -> None:
    size = torch.tensor([CROP_WIDTH, CROP_HEIGHT])
    crop_px = ((sample.keypoints + 1) * size - 1) / 2
    for row, colour in DOTS.items():
        new_row = KEYPOINT_MIRROR[row] if mirrored else row
        assert sample.confidence[new_row] == 1
        place = found(sample.image.numpy(), colour)
        assert np.abs(crop_px[new_row].numpy() - place).max() < 0.5
    assert int((sample.confidence > 0).sum()) == len(DOTS)


@pytest.mark.parametrize("mirror", [0, 1])
def test_keypoints_lie_on_what_they_mark(tmp_path: Path, mirror: int) -> None:
    augmentation = replace(NOT_TINTED, mirror=mirror)
    people = dataset(tmp_path, dotted(tmp_path), augmentation=augmentation)
    for number in range(12):
        check_dots(people[Draw(0, number)], mirrored=bool(mirror))


@pytest.mark.parametrize("size", [2, 3])
def test_images_are_read_smaller_with_all_that_is_in_pixels(tmp_path: Path, size: int) -> None:
    arrays = dotted(tmp_path / "large", size=size)
    spec = replace(THREEDPW, reduction=size)
    check_dots(dataset(tmp_path / "large", arrays, spec=spec)[0], mirrored=False)
    small = dataset(tmp_path / "small", dotted(tmp_path / "small"))[0]
    large = dataset(tmp_path / "large", arrays, spec=spec)[0]
    torch.testing.assert_close(large.view.box_center, small.view.box_center)
    torch.testing.assert_close(large.view.box_height, small.view.box_height)
    assert large.view.principal_point.tolist() == [WIDTH / 2, HEIGHT / 2]
    torch.testing.assert_close(large.view.focal_length * size, small.view.focal_length)
    for row in DOTS:
        # Whole pixels of either image.
        assert (large.keypoints[row] - small.keypoints[row]).abs().max() < 0.02


def test_3dpw_is_read_at_half_size() -> None:
    assert THREEDPW.reduction == 2
    assert all(spec.reduction == 1 for spec in DATASETS.values() if spec is not THREEDPW)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def spin_points(body: Body, rotvecs: Tensor, betas: Tensor) -> Tensor:
    posed = skin(body, rotvec_to_rotmat(rotvecs)[None], betas[None])
    return keypoint_regressor(body, SPIN_24).from_mesh(posed.vertices, posed.joints)[0]


def photographed(folder: Path, body: Body) -> Arrays:
    """Consistent annotations: a body before a pinhole camera, near and off its axis."""
    arrays = everything(count=1)
    write_images(folder, arrays)
    arrays["pose"][0, :3] = 2.6, 0.4, -0.5
    rotvecs = torch.from_numpy(arrays["pose"]).float().reshape(24, 3)
    joints = spin_points(body, rotvecs, torch.from_numpy(arrays["shape"][0]).float()).numpy()
    available = keypoint_regressor(body, SPIN_24).available.numpy()
    placed = joints + np.array([0.8, -0.9, 3.2])
    seen = placed[:, :2] / placed[:, 2:] * arrays["focal_length"][0] + (WIDTH / 2, HEIGHT / 2)
    arrays["part"] = np.concatenate([seen, available[:, None]], axis=1)[None]
    arrays["S"] = np.concatenate([joints, available[:, None]], axis=1)[None]
    arrays["center"] = seen[None, available].mean(axis=1)
    return arrays


def reprojection_error_px(points: Tensor, sample: Sample) -> float:
    """How far off the points are at best, wherever they are placed before the view's camera."""
    known = sample.confidence[25:] > 0
    x, y, z = points[known].double().unbind(1)
    offset = image_px(sample.keypoints[25:][known], sample.view) - sample.view.principal_point
    u, v = offset.double().unbind(1)
    focal, zero = sample.view.focal_length.double().expand(len(x)), torch.zeros(len(x)).double()
    # f (x + tx) = u (z + tz) is linear in the place t.
    system = torch.cat([torch.stack([focal, zero, -u], 1), torch.stack([zero, focal, -v], 1)])
    place = torch.linalg.lstsq(system, torch.cat([u * z - focal * x, v * z - focal * y])).solution
    projected = focal[:, None] * (torch.stack([x, y], 1) + place[:2]) / (z + place[2])[:, None]
    return float((projected - torch.stack([u, v], 1)).norm(dim=1).max())


def test_keypoints_joints_and_pose_still_fit_each_other(tmp_path: Path, body: Body) -> None:
    people = dataset(tmp_path, photographed(tmp_path, body), augmentation=NOT_TINTED)
    for number in range(16):
        sample = people[Draw(0, number)]
        assert reprojection_error_px(sample.joints_3d, sample) < 0.01
        # The free body is symmetric to two millimetres, a third of a pixel here.
        posed = spin_points(body, sample.rotvecs, sample.betas)
        assert reprojection_error_px(posed, sample) < 0.5


def test_the_reprojection_notices_a_turn_of_a_few_degrees(tmp_path: Path, body: Body) -> None:
    sample = dataset(tmp_path, photographed(tmp_path, body))[0]
    roll = rotvec_to_rotmat(torch.tensor([0.0, 0.0, 0.05]))
    assert reprojection_error_px(sample.joints_3d @ roll.T, sample) > 2


def test_mirrored_and_mirrored_again_is_the_same(folder: Path, tmp_path: Path) -> None:
    always = Augmentation(mirror=1, upright=1, scale_sigma=0, colour=0, occlusion=0)
    arrays = everything()
    plain = dataset(folder, arrays)[0]
    once = dataset(folder, arrays, augmentation=always)[0]
    assert torch.equal(once.image, plain.image.flip(1))
    Image.fromarray(photograph(0)[:, ::-1]).save(tmp_path / "mirrored.png")
    # Mirrored about the principal point, at half the size, the first column lies at x = 1.
    first_column = torch.tensor([1.0, 0])
    view = once.view._replace(box_center=once.view.box_center - first_column)
    places = torch.cat([image_px(once.keypoints, view), once.confidence[:, None]], dim=1)
    joints = torch.cat([once.joints_3d, once.joints_3d_confidence[:, None]], dim=1)
    again = everything(count=1) | {
        "imgname": np.array(["mirrored.png"]),
        "center": view.box_center.numpy()[None],
        "scale": view.box_height.numpy()[None] / 200,
        "focal_length": view.focal_length.numpy()[None],
        "pose": once.rotvecs.numpy().reshape(1, 72),
        "shape": once.betas.numpy()[None],
        "S": joints.numpy()[None],
        "openpose": places.numpy()[None, :25],
        "part": places.numpy()[None, 25:],
    }
    twice = dataset(tmp_path, again, augmentation=always)[0]
    assert (twice.image.int() - plain.image).abs().max() <= 1
    view = twice.view._replace(box_center=twice.view.box_center - first_column)
    for now, before in zip((*twice[1:-1], *view), (*plain[1:-1], *plain.view), strict=True):
        torch.testing.assert_close(now, before, rtol=1e-5, atol=1e-4)


def test_draws_are_reproducible_and_all_different(folder: Path) -> None:
    people = dataset(folder, everything(), spec=HUMAN36M, augmentation=Augmentation())
    again = dataset(folder, everything(), spec=HUMAN36M, augmentation=Augmentation())
    other = dataset(folder, everything(), spec=HUMAN36M, augmentation=Augmentation(), seed=1)
    samples = [people[Draw(person, number)] for number in range(4) for person in range(3)]
    backwards = [again[Draw(person, n)] for n in (3, 2, 1, 0) for person in (2, 1, 0)]
    assert all(same(*pair) for pair in zip(samples, reversed(backwards), strict=True))
    assert same(people[2], people[Draw(2, 0)])
    first = [people[Draw(0, n)] for n in range(4)] + [other[Draw(0, n)] for n in range(4)]
    assert len({sample.image.numpy().tobytes() for sample in first}) == 8


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_samples_do_not_depend_on_who_loads_them(folder: Path) -> None:
    people = dataset(folder, everything(), spec=HUMAN36M, augmentation=Augmentation())
    draws: list[Any] = [Draw(n % 3, n) for n in range(8)]

    def batches(workers: int) -> list[Sample]:
        return list(DataLoader(people, batch_size=3, sampler=draws, num_workers=workers))

    alone, together = batches(0), batches(2)
    assert [len(batch.image) for batch in alone] == [3, 3, 2]
    assert all(same(*pair) for pair in zip(alone, together, strict=True))


def test_loading_leaves_the_global_generators_alone(folder: Path) -> None:
    people = dataset(folder, everything(), spec=HUMAN36M, augmentation=Augmentation())
    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    people[0]
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002


def test_colours_are_tinted_channel_by_channel(folder: Path) -> None:
    tinted = Augmentation(mirror=0, upright=1, scale_sigma=0)
    arrays = everything()
    plain = dataset(folder, arrays)[0].image.double()
    for number in range(5):
        sample = dataset(folder, arrays, augmentation=tinted)[Draw(0, number)]
        for channel in range(3):
            before, after = plain[..., channel], sample.image[..., channel].double()
            factor = (after[before > 50] / before[before > 50]).median()
            assert 0.59 < factor < 1.41
            assert (after - (before * factor).clamp(max=255)).abs().max() < 2.5


def test_only_indoor_sets_get_occluders(folder: Path) -> None:
    hiding = Augmentation(mirror=0, upright=1, scale_sigma=0, colour=0, occlusion=1)  # nothing else
    plain = dataset(folder, everything())[0]
    outdoors = dataset(folder, everything(), augmentation=hiding)[0]
    assert same(outdoors, plain)
    indoors = dataset(folder, everything(), spec=HUMAN36M, augmentation=hiding)[0]
    assert (indoors.image != plain.image).any()
    assert same(indoors._replace(image=plain.image), plain)
    never = replace(hiding, occlusion=0)
    assert same(dataset(folder, everything(), spec=HUMAN36M, augmentation=never)[0], plain)
    assert {name for name, spec in DATASETS.items() if spec.indoor} == {"human36m", "mpi_inf_3dhp"}


def test_boxes_can_be_drawn_around_the_data_sets_own_keypoints(folder: Path) -> None:
    arrays = everything()
    arrays["part"][0, :, 2] = 0
    arrays["part"][0, [3, 7]] = (100, 150, 1), (140, 350, 0.5)
    arrays["part"][1, :, 2] = 0
    arrays["part"][1, 3, 2] = 1
    people = dataset(folder, arrays, boxes="keypoints")
    assert people[0].view.box_center.tolist() == [120, 250]
    assert float(people[0].view.box_height) == pytest.approx(200 * 1.2)
    # A single keypoint makes no box.
    assert same(people[1], dataset(folder, arrays)[1])
    with pytest.raises(ValueError, match="boxes come from 'file' or 'keypoints', not 'openpose'"):
        dataset(folder, arrays, boxes="openpose")  # type: ignore[arg-type]


def test_persons_are_counted_from_either_end(folder: Path) -> None:
    people = dataset(folder, everything(), augmentation=Augmentation())
    assert len(people) == 3
    assert same(people[-1], people[2])
    assert [people.gender(person) for person in range(3)] == ["m", "f", "m"]
    for beyond in (3, -4, Draw(3, 0)):
        with pytest.raises(IndexError):
            people[beyond]


def test_a_missing_image_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    people = dataset(tmp_path, everything(), spec=THREEDPW)
    with pytest.raises(FileNotFoundError) as caught:
        people[1]
    message = str(caught.value)
    assert message.startswith(f"3DPW: no image at {tmp_path / 'images' / '001.png'}")
    assert "virtualhumans.mpi-inf.mpg.de/3DPW" in message


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_damaged_image_is_named(tmp_path: Path, keep: int) -> None:
    arrays = everything()
    write_images(tmp_path, arrays)
    path = tmp_path / "images" / "001.png"
    path.write_bytes(path.read_bytes()[:keep])
    people = dataset(tmp_path, arrays)
    people[0]
    with pytest.raises(ValueError, match=r"001\.png"):
        people[1]
