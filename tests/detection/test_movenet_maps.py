"""Decoding of maps, against MoveNet's formulas written as loops over pixels."""

import numpy as np
import numpy.typing as npt
import pytest

from dualhmr.detection.movenet_maps import people_in_maps, person_in_maps

Maps = dict[str, npt.NDArray[np.float32]]
POINTS, HEIGHT, WIDTH = 17, 12, 20


def made_maps(seed: int) -> Maps:
    rng = np.random.default_rng(seed)

    def normal(channels: int, scale: float) -> npt.NDArray[np.float32]:
        return (scale * rng.normal(size=(channels, HEIGHT, WIDTH))).astype(np.float32)

    return {
        "center": rng.uniform(size=(1, HEIGHT, WIDTH)).astype(np.float32),
        "box_size": normal(2, 3) + np.float32(8),
        "box_offset": normal(2, 0.5),
        "keypoint": rng.uniform(size=(POINTS, HEIGHT, WIDTH)).astype(np.float32),
        "keypoint_regression": normal(2 * POINTS, 3),
        "keypoint_offset": normal(2 * POINTS, 0.5),
    }


def slow_people(maps: Maps, most: int) -> list[dict[str, npt.NDArray[np.float64]]]:
    """Pixel by pixel."""
    center = maps["center"][0]
    peaks = [
        (float(center[y, x]), y, x)
        for y in range(HEIGHT)
        for x in range(WIDTH)
        if center[y, x] == center[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max()
    ]
    peaks = sorted(peaks, reverse=True)[:most]
    claims = [_claims(maps, y, x) for _, y, x in peaks]
    people = []
    for (score, _, _), (box, claim) in zip(peaks, claims, strict=True):
        rows = []
        for point in range(POINTS):
            weighted = maps["keypoint"][point] * claim[point]
            at = np.unravel_index(weighted.argmax(), weighted.shape)
            best = max(each[1][point][at] for each in claims) * maps["keypoint"][point][at]
            dy, dx = maps["keypoint_offset"][2 * point : 2 * point + 2, at[0], at[1]]
            rows.append((4 * (at[1] + dx), 4 * (at[0] + dy), best))
        points = np.array(rows)
        counted = points[:, 2] > 0.126953125
        mean = points[counted, 2].sum() / max(counted.sum(), 1)
        people.append({"points": points, "box": 4 * box, "score": np.array(score * mean)})
    return people


def _claims(maps: Maps, y: int, x: int) -> tuple[npt.NDArray[np.float64], list[npt.NDArray]]:
    middle = np.array([y, x]) + maps["box_offset"][:, y, x]
    half = np.maximum(maps["box_size"][:, y, x], 0) / 2
    low, high = (np.clip(each, 0, (HEIGHT, WIDTH)) for each in (middle - half, middle + half))
    claims = []
    for point in range(POINTS):
        expected = maps["keypoint_regression"][2 * point : 2 * point + 2, y, x] + (y, x)
        claim = np.zeros((HEIGHT, WIDTH))
        for row in range(HEIGHT):
            for column in range(WIDTH):
                if low[0] <= row < high[0] and low[1] <= column < high[1]:
                    squared = ((np.array([row, column]) - expected) ** 2).sum()
                    claim[row, column] = np.exp(-squared / (0.300048828125 * min(HEIGHT, WIDTH)))
        claims.append(claim)
    return np.array([low[1], low[0], high[1], high[0]]), claims


@pytest.mark.parametrize("seed", range(3))
def test_people_are_those_of_the_formulas(seed: int) -> None:
    maps = made_maps(seed)
    found = people_in_maps(maps, most=5)
    expected = slow_people(maps, most=5)
    assert len(found.person_scores) == len(expected) == 5
    for person, each in enumerate(expected):
        points = np.c_[found.keypoints[person], found.scores[person]]
        np.testing.assert_allclose(points, each["points"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.boxes[person], each["box"], rtol=1e-5, atol=1e-5)
        assert found.person_scores[person] == pytest.approx(float(each["score"]), rel=1e-5)


def test_low_centres_are_left_out_and_change_nobody_else() -> None:
    maps = made_maps(3)
    everybody = people_in_maps(maps, most=100)
    maps["keypoint"] = np.ones_like(maps["keypoint"])
    some = people_in_maps(maps, most=100, min_score=0.95)
    assert 0 < len(some.boxes) < len(everybody.boxes)
    np.testing.assert_array_equal(some.boxes, everybody.boxes[: len(some.boxes)])
    nobody = people_in_maps(maps, most=100, min_score=1.1)
    assert nobody.keypoints.shape == (0, POINTS, 2)
    assert nobody.person_scores.shape == (0,)


def test_the_one_person_is_where_scores_divided_by_distances_are_best() -> None:
    maps = made_maps(4)
    keypoints, scores = person_in_maps(maps)
    y, x = np.unravel_index(maps["center"][0].argmax(), (HEIGHT, WIDTH))
    for point in range(POINTS):
        expected = maps["keypoint_regression"][2 * point : 2 * point + 2, y, x] + (y, x)
        weighted = {
            (row, column): maps["keypoint"][point, row, column]
            / (np.hypot(row - expected[0], column - expected[1]) + 1.7998046875)
            for row in range(HEIGHT)
            for column in range(WIDTH)
        }
        row, column = max(weighted, key=lambda pixel: weighted[pixel])
        dy, dx = maps["keypoint_offset"][2 * point : 2 * point + 2, row, column]
        np.testing.assert_allclose(keypoints[point], (4 * (column + dx), 4 * (row + dy)), rtol=1e-5)
        assert scores[point] == maps["keypoint"][point, row, column]
