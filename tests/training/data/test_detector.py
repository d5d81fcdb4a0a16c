from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dualhmr.keypoints import BODY_23
from dualhmr_training.data.synthetic.detector import (
    Detector,
    DetectorErrors,
    movenet_errors,
    noise_only,
)
from dualhmr_training.data.synthetic.poses import SeededRandom

FLAWLESS = replace(noise_only(0.0), without_feet=0)
FACE = ("nose", "left_eye", "right_eye")
AT = {name: index for index, name in enumerate(BODY_23.names)}


def rows(*names: str) -> list[int]:
    return [AT[name] for name in names]


def make_people(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keypoints in the image, in front of the camera, all inside."""
    generator = torch.Generator().manual_seed(2)
    seen = torch.rand(count, 23, 2, generator=generator) * torch.tensor([0.1, 0.3])
    points = torch.randn(count, 23, 3, generator=generator)
    return seen, points, torch.ones(count, 23, dtype=torch.bool)


def detect(
    errors: DetectorErrors, people: tuple[Tensor, Tensor, Tensor], *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    return Detector(errors, SeededRandom(seed)).detect(*people)


def test_without_errors_it_reports_the_truth() -> None:
    people = make_people(50)
    positions, confidence = detect(FLAWLESS, people)
    assert torch.equal(positions, people[0])
    assert (confidence >= 0.4).all()
    assert (confidence <= 1).all()
    sure = (confidence == 1).all(1)
    assert 0.2 < sure.double().mean() < 0.8


def test_the_same_seed_reports_the_same() -> None:
    people = make_people(50)
    first, second = (detect(DetectorErrors(), people, seed=4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], detect(DetectorErrors(), people, seed=5)[0])


@pytest.mark.parametrize("level", [0.005, 0.05])
def test_noise_has_the_stated_level_relative_to_the_person(level: float) -> None:
    people = make_people(2000)
    positions, _ = detect(noise_only(level), people)
    seen = people[0].numpy().astype(np.float64)
    coco = seen[:, :17]
    size = (coco.max(1) - coco.min(1)).max(1)
    relative = (positions.numpy() - seen) / size[:, None, None]
    # 92,000 numbers: the sampling error of their deviation is a quarter of a percent.
    assert relative.std() == pytest.approx(level, rel=0.01)
    assert abs(relative.mean()) < level / 50


def test_every_person_has_a_level_of_noise_below_the_largest() -> None:
    people = make_people(3000)
    errors = replace(FLAWLESS, fixed_noise=None, max_noise=0.08)
    noise = detect(errors, people)[0] - people[0]
    coco = people[0][:, :17]
    size = (coco.amax(1) - coco.amin(1)).amax(1)
    levels = noise.flatten(1).std(1) / size
    assert levels.max() < 0.08 * 1.4
    assert levels.mean().item() == pytest.approx(0.04, rel=0.05)


def test_outliers_are_few_and_far() -> None:
    people = make_people(2000)
    noise = detect(replace(FLAWLESS, outlier=0.05, outlier_noise=0.5), people)[0] - people[0]
    moved = noise.any(-1)
    assert moved.double().mean().item() == pytest.approx(0.05, rel=0.1)
    coco = people[0][:, :17]
    size = (coco.amax(1) - coco.amin(1)).amax(1)[:, None, None]
    assert (noise / size)[moved].std().item() == pytest.approx(0.5, rel=0.05)


def test_swapped_limbs() -> None:
    people = make_people(20)
    positions, _ = detect(replace(FLAWLESS, swap=1), people)
    for name, row in AT.items():
        limb = name.endswith(("elbow", "wrist", "knee", "ankle", "toe", "heel"))
        side = {"left": "right", "right": "left"}.get(name.split("_")[0], "")
        source = AT[f"{side}_{name.split('_', 1)[1]}"] if limb else row
        assert torch.equal(positions[:, row], people[0][:, source]), name


def test_swaps_are_as_frequent_as_stated_arms_apart_from_legs() -> None:
    people = make_people(3000)
    moved = (detect(replace(FLAWLESS, swap=0.1), people)[0] != people[0]).any(-1)
    arms, legs = moved[:, AT["left_wrist"]], moved[:, AT["right_heel"]]
    assert arms.double().mean().item() == pytest.approx(0.1, abs=0.02)
    assert legs.double().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (arms & legs).double().mean() < 0.03


@pytest.mark.parametrize("errors", [DetectorErrors(dropout=50), DetectorErrors(cut_legs=1)])
def test_at_least_six_keypoints_are_reported(errors: DetectorErrors) -> None:
    seen, points, inside = make_people(500)
    inside[::2, 3:] = False
    _, confidence = detect(errors, (seen, points, inside))
    assert (confidence > 0).sum(1).min() >= 6


def test_what_is_missed_has_no_confidence() -> None:
    seen, points, inside = make_people(500)
    inside[:, 9] = False
    _, confidence = detect(FLAWLESS, (seen, points, inside))
    assert (confidence[:, 9] == 0).all()
    assert (confidence[:, :9] >= 0.4).all()
    _, confidence = detect(replace(FLAWLESS, without_feet=1), (seen, points, inside))
    assert (confidence[:, 17:] == 0).all()


def test_seven_in_ten_lose_keypoints_at_a_rate_below_the_largest() -> None:
    missed = (detect(replace(FLAWLESS, dropout=0.5), make_people(3000))[1] == 0).double()
    assert missed.mean().item() == pytest.approx(0.7 * 0.25, rel=0.1)
    assert 0.25 < (missed.sum(1) == 0).double().mean() < 0.4


def test_legs_are_cut_from_ankles_knees_or_hips() -> None:
    missed = detect(replace(FLAWLESS, cut_legs=1), make_people(3000))[1] == 0
    hidden = {
        part: missed[:, rows(f"left_{part}", f"right_{part}")].all(1)
        for part in ("hip", "knee", "ankle")
    }
    assert missed[:, 17:].all()
    assert hidden["ankle"].all()
    assert not (hidden["hip"] & ~hidden["knee"]).any()
    assert not missed[:, : AT["left_hip"]].any()
    shares = [hidden[part].double().mean().item() for part in ("hip", "knee")]
    assert shares == pytest.approx([0.17, 0.67], abs=0.03)


def test_faces_that_look_away_are_mostly_missed() -> None:
    seen, points, inside = make_people(2000)
    points[:, rows("left_ear", "right_ear"), 2] = 2.0
    points[:, AT["nose"], 2] = torch.where(torch.arange(2000) % 2 == 0, 2.1, 1.9)
    errors = replace(FLAWLESS, hides_face=True)
    missed = detect(errors, (seen, points, inside))[1][:, rows(*FACE)] == 0
    away, towards = missed[::2], missed[1::2]
    assert not towards.any()
    assert away.all(1).double().mean().item() == pytest.approx(0.75, abs=0.05)
    assert torch.equal(away.all(1), away.any(1))
    assert not (detect(FLAWLESS, (seen, points, inside))[1] == 0).any()


def test_the_far_ear_is_mostly_missed() -> None:
    seen, points, inside = make_people(2000)
    points[:, rows(*FACE), 2] = 0.0
    points[:, AT["left_ear"], 2], points[:, AT["right_ear"], 2] = 2.2, 2.0
    confidence = detect(replace(FLAWLESS, hides_face=True), (seen, points, inside))[1]
    assert (confidence[:, AT["right_ear"]] > 0).all()
    missed = (confidence[:, AT["left_ear"]] == 0).double().mean().item()
    assert missed == pytest.approx(0.7, abs=0.05)


def test_levels_are_log_normal_and_faces_have_less_noise() -> None:
    people = make_people(4000)
    errors = replace(noise_only(0), fixed_noise=None, typical_noise=0.02, face_noise=0.35)
    positions, _ = detect(errors, people)
    size = (people[0][:, :17].amax(1) - people[0][:, :17].amin(1)).amax(1)
    relative = ((positions - people[0]) / size[:, None, None]).numpy()
    of_body = relative[:, 5:].std((1, 2))
    assert np.median(of_body) == pytest.approx(0.02, rel=0.05)
    assert np.log(of_body).std() == pytest.approx(0.5, abs=0.05)
    assert np.median(relative[:, :5].std((1, 2)) / of_body) == pytest.approx(0.35, abs=0.03)


def test_scores_are_as_measured_and_say_how_large_errors_are() -> None:
    people = make_people(4000)
    positions, confidence = detect(replace(movenet_errors(), hides_face=False), people)
    reported = confidence > 0
    quantiles = np.quantile(confidence[reported].numpy(), (0.1, 0.5, 0.9))
    np.testing.assert_allclose(quantiles, (0.335, 0.755, 1.0), atol=0.06)
    assert (confidence[reported] == 1).double().mean() == pytest.approx(0.22, abs=0.03)
    size = (people[0][:, :17].amax(1) - people[0][:, :17].amin(1)).amax(1)
    errors = (positions - people[0]).norm(dim=-1) / size[:, None]
    errors, confidence, reported = (each[:, 5:17] for each in (errors, confidence, reported))
    unsure = errors[reported & (confidence < 0.5)].median() / 1.177
    sure = errors[confidence >= 0.9].median() / 1.177
    # As measured on photographs, within a third.
    assert float(unsure) == pytest.approx(0.034, rel=0.33)
    assert float(sure) == pytest.approx(0.012, rel=0.33)


def test_most_people_lose_nothing_and_a_few_percent_are_missing() -> None:
    errors = replace(movenet_errors(), hides_face=False, cut_legs=0.0)
    _, confidence = detect(errors, make_people(4000))
    missing = (confidence[:, :17] == 0).double().mean(1)
    assert missing.mean().item() == pytest.approx(0.032, abs=0.01)
    assert (missing == 0).double().mean().item() == pytest.approx(0.77, abs=0.06)
