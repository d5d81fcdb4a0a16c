"""The default detector on whole photographs: what must not matter, and what is nobody."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dualhmr.detection import Detections, MovenetDetector, MovenetOptions
from dualhmr.detection.regions import Region, first_regions, picture_of
from dualhmr.engines import EngineOptions
from dualhmr.example import _ANNOTATED, example
from dualhmr.keypoints import COCO_17

Pixels = npt.NDArray[np.uint8]
MIRROR = list(COCO_17.flip_permutation())


@lru_cache(maxsize=1)
def detector() -> MovenetDetector:
    return MovenetDetector(engine=EngineOptions(threads=1))


@pytest.fixture(scope="module")
def cameraman() -> Pixels:
    return example()[0]


@pytest.fixture(scope="module")
def found(cameraman: Pixels) -> Detections:
    return detector()(cameraman)


def distance(one: Detections, other: npt.NDArray[np.float32], *, least: float = 0.4) -> float:
    """Mean over keypoints with a clear score, of the first person."""
    clear = one.scores[0] > least
    assert clear.sum() >= 8
    return float(np.linalg.norm(one.keypoints[0] - other, axis=1)[clear].mean())


def test_the_example_is_found_where_it_was_annotated_by_hand(found: Detections) -> None:
    assert len(found) == 1
    rows = [COCO_17.index(name) for name in _ANNOTATED]
    away = np.linalg.norm(found.keypoints[0, rows] - np.array([*_ANNOTATED.values()]), axis=1)
    assert np.median(away) < 0.05 * 512
    left, top, right, bottom = found.boxes[0]
    assert left < 100 < 200 < right
    assert top < 150 < 400 < bottom


def test_it_is_deterministic(cameraman: Pixels, found: Detections) -> None:
    again = MovenetDetector(engine=EngineOptions(threads=1))(cameraman)
    np.testing.assert_array_equal(again.keypoints, found.keypoints)
    np.testing.assert_array_equal(again.scores, found.scores)


def test_a_mirrored_photograph_has_the_mirrored_person(
    cameraman: Pixels, found: Detections
) -> None:
    mirrored = detector()(np.ascontiguousarray(cameraman[:, ::-1]))
    back = mirrored.keypoints[:, MIRROR] * np.array([-1, 1], np.float32) + np.float32([511, 0])
    assert distance(found, back[0]) < 0.03 * 512


def test_the_photographs_size_does_not_matter(cameraman: Pixels, found: Detections) -> None:
    for size in ((1301, 1301), (250, 250), (5000, 5000)):
        resized = np.array(Image.fromarray(cameraman).resize(size, Image.Resampling.BICUBIC))
        other = detector()(resized)
        assert len(other) == 1
        scale = size[0] / 512
        assert distance(found, (other.keypoints[0] + 0.5) / scale - 0.5) < 0.02 * 512


def test_where_the_person_stands_does_not_matter(cameraman: Pixels, found: Detections) -> None:
    canvas = np.full((900, 1100, 3), 128, np.uint8)
    canvas[300:812, 450:962] = cameraman
    other = detector()(canvas)
    assert distance(found, other.keypoints[0] - np.float32([450, 300])) < 0.03 * 512


def test_more_people_than_the_originals_six(cameraman: Pixels) -> None:
    crowd = detector()(np.tile(cameraman, (3, 3, 1)))
    assert len(crowd) == 9
    cells = {tuple(cell) for cell in (crowd.keypoints.mean(1) // 512).astype(int)}
    assert len(cells) == 9


def test_tiles_find_smaller_people(cameraman: Pixels) -> None:
    canvas = np.full((2048, 2048, 3), 128, np.uint8)
    canvas[700:828, 300:428] = cameraman[::4, ::4]
    assert len(detector()(canvas)) == 0
    tiled = MovenetDetector(MovenetOptions(tiles=5), engine=EngineOptions(threads=1))(canvas)
    assert len(tiled) == 1
    x, y = tiled.keypoints[0].mean(0)
    assert 300 < x < 428
    assert 700 < y < 828


def test_a_panorama_is_looked_at_in_parts(cameraman: Pixels, found: Detections) -> None:
    panorama = np.full((512, 6000, 3), 128, np.uint8)
    panorama[:, 4000:4512] = cameraman
    other = detector()(panorama)
    assert len(other) == 1
    assert distance(found, other.keypoints[0] - np.float32([4000, 0])) < 0.03 * 512


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 3000), (3000, 1), (7, 5), (480, 640), (33, 31), (100, 20000)]
)
def test_nobody_is_found_where_nobody_is(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    for pixels in (np.zeros((*shape, 3), np.uint8), noise):
        nobody = detector()(pixels)
        assert len(nobody) == 0
        assert nobody.keypoints.shape == (0, 17, 2)
        assert len(nobody.to_keypoints()) == 0


def test_options_are_checked_and_used(cameraman: Pixels) -> None:
    one = EngineOptions(threads=1)
    assert len(MovenetDetector(MovenetOptions(min_score=0.9), engine=one)(cameraman)) == 0
    first = MovenetDetector(MovenetOptions(second_look=False), engine=one)(cameraman)
    assert len(first) == 1
    assert not np.array_equal(first.keypoints, detector()(cameraman).keypoints)
    for wrong in ({"sides": ()}, {"sides": (10,)}, {"min_score": 2.0}, {"tiles": 0}, {"most": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MovenetOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize("size", [(640, 480), (3000, 400), (400, 3000), (1, 10000)])
def test_parts_cover_the_photograph_and_overlap(size: tuple[int, int], tiles: int) -> None:
    covered = np.zeros(size[::-1], int)
    regions = [region for region, _ in first_regions(size, (384,), tiles=tiles)]
    assert regions[0] == Region(0, 0, *size)
    for left, top, width, height in regions[1:]:
        assert 0 <= left <= left + width <= size[0]
        assert 0 <= top <= top + height <= size[1]
        covered[top : top + height, left : left + width] += 1
    if tiles > 1 or max(size) > 2 * min(size):
        assert covered.min() >= 1
        assert covered.max() >= 2


def test_points_of_a_picture_return_to_where_they_are_in_the_photograph() -> None:
    photograph = Image.fromarray(np.zeros((300, 500, 3), np.uint8))
    photograph.paste((255, 255, 255), (200, 100, 240, 140))  # centre at 219.5, 119.5
    for region in (Region(0, 0, 500, 300), Region(-50, -20, 400, 400), Region(150, 60, 331, 177)):
        picture = picture_of(photograph, region, 256)
        assert not any(size % 32 for size in picture.pixels.shape[:2])
        weights = picture.pixels[..., 0].astype(np.float64)
        y, x = np.indices(weights.shape)
        edges = np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum() + 0.5
        back = picture.to_photograph(edges.astype(np.float32))
        np.testing.assert_allclose(back, (219.5, 119.5), atol=0.05)


def test_following_somebody_looks_where_they_should_be(
    cameraman: Pixels, found: Detections
) -> None:
    """Expected some pixels away; where nobody is; and twice, as if one person hid another."""

    def expected(*shifts: tuple[float, float]) -> Detections:
        moved, count = np.array(shifts, np.float32), len(shifts)
        return Detections(
            COCO_17,
            found.keypoints[0] + moved[:, None],
            np.repeat(found.scores, count, 0),
            found.boxes + np.tile(moved, 2),
            np.repeat(found.person_scores, count),
        )

    followed, numbers = detector().follow(cameraman, expected((-400, 300), (8, -5)))
    assert numbers == [1]
    assert followed.score_range == found.score_range
    assert distance(found, followed.keypoints[0]) < 0.03 * 512
    _, numbers = detector().follow(cameraman, expected((8, -5), (-9, 4)))
    assert len(numbers) == 1
    nobody, numbers = detector().follow(np.zeros_like(cameraman), expected((0, 0)))
    assert (len(nobody), numbers) == (0, [])
