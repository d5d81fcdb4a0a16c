import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.reproducing_examples import few_to_validate_on, says_nothing, tiny_setting, write_poses

from dualhmr.adaptation.optimisers import Adam, GradientDescent
from dualhmr.adaptation.schedule import Phase
from dualhmr_benchmarks.claims.experiments.evaluations import choose_rates, chosen_rate
from dualhmr_benchmarks.claims.experiments.experiment import (
    EFT,
    PAPER,
    RELEASE,
    TRAINED,
    TRAINED_2D,
    Experiment,
    run_experiment,
    schedule_of,
)
from dualhmr_benchmarks.claims.experiments.populations import (
    GIVEN,
    NARROW,
    QUALITIES,
    VARIED,
    WILD,
    describe_quality,
    evaluated_population,
    training_population,
    training_poses,
)
from dualhmr_benchmarks.claims.experiments.setting import free_body
from dualhmr_benchmarks.claims.experiments.trainings import TrainingRun, train_all
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.data.synthetic.people import People, PeopleSampler
from dualhmr_training.data.synthetic.poses import PoseFile, read_poses
from dualhmr_training.presets import demo_keypoints

KEYPOINTS = ("keypoints_2d",)
PLAIN, THEN = GradientDescent(0.02, 3.0), Adam(1e-3)
INNER = InnerLoop(steps=2, learning_rate=0.02, max_norm=3.0)
MANY = 1000


@pytest.mark.parametrize(
    ("name", "losses", "phases"),
    [
        (EFT, None, (Phase(THEN, 14, KEYPOINTS),)),
        (PAPER, None, (Phase(THEN, 14),)),
        (TRAINED, None, (Phase(PLAIN, 2), Phase(THEN, 12))),
        (TRAINED_2D, KEYPOINTS, (Phase(PLAIN, 2, KEYPOINTS), Phase(THEN, 12, KEYPOINTS))),
        (RELEASE, None, (Phase(PLAIN, 2), Phase(THEN, 12, KEYPOINTS))),
    ],
)
def test_schedules_by_hand(
    name: str, losses: tuple[str, ...] | None, phases: tuple[Phase, ...]
) -> None:
    experiment, inner = Experiment("any", name), replace(INNER, losses=losses)
    schedule = schedule_of(experiment, inner, 1e-3)
    assert (schedule.name, schedule.phases, schedule.tolerance) == (name, phases, 2e-5)
    drawn_out = schedule_of(replace(experiment, steps=30, every_step=True), inner, 1e-3)
    last = replace(phases[-1], steps=phases[-1].steps + 16)
    assert (drawn_out.phases, drawn_out.tolerance) == ((*phases[:-1], last), 0)
    for steps in (0, 1, 2, 5):
        assert schedule_of(replace(experiment, steps=steps), inner, 1e-3).max_steps == steps


def test_networks_without_inner_steps_take_one_plain_step() -> None:
    ordinary = replace(INNER, steps=0)
    first, then = schedule_of(Experiment("any", TRAINED), ordinary, 1e-3).phases
    assert (first, then.steps) == (Phase(PLAIN, 1), 13)


def people_of(style: str, quality: str) -> People:
    generator = torch.Generator().manual_seed(1)
    poses = 0.2 * torch.randn(30, 24, 3, generator=generator)
    population = evaluated_population(style, quality)
    return PeopleSampler(free_body(), poses, population, seed=7).sample(MANY)


@pytest.mark.parametrize("style", [VARIED, WILD])
def test_qualities_differ_in_what_the_detector_reports_alone(style: str) -> None:
    people = {quality: people_of(style, quality) for quality in QUALITIES}
    distances, missing = {}, {}
    for quality, each in people.items():
        known = each.confidence[:, :17] > 0
        distance = (each.detected - each.keypoints)[:, :17].norm(dim=-1)
        distances[quality] = distance[known].mean().item()
        missing[quality] = 1 - known.float().mean().item()
        assert not each.confidence[:, 17:].any()
    assert distances["openpose"] > 1.5 * distances["rsn"] > 0
    assert distances["truth"] == 0
    assert missing["openpose"] > missing["rsn"] > missing["truth"]
    first, *others = people.values()
    for other in others:
        for name in (
            "rotations",
            "betas",
            "keypoints",
            "observed",
            "observed_confidence",
            "translation",
        ):
            assert torch.equal(getattr(first, name), getattr(other, name)), name
        assert all(map(torch.equal, first.view, other.view))
    # The errors of the observed keypoints have nothing to do with the detector's.
    both = (first.confidence > 0) & (first.observed_confidence > 0)
    signs = [(each - first.keypoints)[both].sign() for each in (first.detected, first.observed)]
    assert abs((signs[0] * signs[1]).mean()) < 0.03


def test_the_wild_are_unlike_the_others() -> None:
    varied, wild = people_of(VARIED, "truth"), people_of(WILD, "truth")
    assert wild.betas.std() == pytest.approx(1.5, rel=0.05)
    assert varied.betas.std() == pytest.approx(1.0, rel=0.05)

    def bend(people: People) -> torch.Tensor:
        """How far joints but the pelvis are turned, as a cosine."""
        return people.rotations[:, 1:].diagonal(dim1=-2, dim2=-1).sum(-1).mean()

    assert bend(wild) < bend(varied)


def test_given_people_are_read_as_they_are_fitted() -> None:
    exact, noisy = (people_of(GIVEN, f"noise {level}%") for level in (0, 5))
    assert torch.equal(noisy.observed, noisy.detected)
    assert torch.equal(exact.rotations, noisy.rotations)
    assert (exact.detected - exact.keypoints)[:, :17].abs().max() < 1e-5
    assert (noisy.confidence[:, 17:] == 0).all()
    assert training_population(GIVEN) == demo_keypoints().population


def test_cached_results_keep_their_names() -> None:
    facts = Experiment("any", EFT, few=True).cached_facts
    assert facts == {
        "recipe": "any", "schedule": EFT, "quality": "openpose", "style": VARIED, "moves": "head",
        "people_at_once": 1, "steps": 14, "every_step": False, "few": True,
    }  # fmt: skip
    changed = Experiment("any", EFT, few=True, true_mesh=True, auxiliary_from="other")
    assert changed.cached_facts == facts | {"true_mesh": True, "auxiliary_from": "other"}


def test_qualities_for_people_to_read() -> None:
    assert describe_quality("rsn") == (
        "noise 1.5% of the person's size, outliers 1% (by 12%), limbs swapped 1% (arms, legs "
        "each), up to 10% missing in 7 of 10 people"
    )


def test_one_kind_of_clip(tmp_path: Path) -> None:
    poses = read_poses(write_poses(tmp_path / "a.npz", {"climb": 2, "ballet_dance": 3}))
    narrow = training_poses(poses, NARROW)
    assert set(narrow.clips) == {f"ballet_dance_{number:02}" for number in range(3)}
    assert torch.equal(narrow.rotvecs, poses.rotvecs[6:])
    assert training_poses(poses, VARIED) is poses
    alike = PoseFile(poses.rotvecs[:2], ("dance_01", "dance_02"))
    with pytest.raises(ValueError, match=r"all clips are of one kind \(dance\).* like dance_01"):
        training_poses(alike, NARROW)


def test_the_rate_chosen_is_the_best_on_held_out_people(tmp_path: Path) -> None:
    setting, training = tiny_setting(tmp_path), TrainingRun("narrow_meta", 1)
    setting = replace(setting, budget=replace(setting.budget, adam_rates=(1e-4, 1e-2, 1.0)))
    experiment = Experiment("narrow_meta", TRAINED_2D)
    with few_to_validate_on():
        train_all(setting, [experiment.recipe], say=says_nothing)
    others = [
        replace(experiment, quality="truth"),
        replace(experiment, style=WILD, steps=3, every_step=True),
    ]
    choose_rates(setting, [experiment, *others], say=says_nothing)
    (path,) = (setting.cache / "rates").iterdir()
    found = json.loads(path.read_text())
    rates = setting.budget.adam_rates
    people = run_experiment(setting, training, experiment, rates, held_out=True)
    means = {
        f"{rate:g}": np.mean([each.measures["mpjpe_mm"][-1] for each in errors])
        for rate, errors in zip(rates, people, strict=True)
    }
    assert found["mpjpe_mm"] == pytest.approx(means)
    assert len(set(means.values())) == 3
    assert f"{found['chosen']:g}" == min(means, key=lambda rate: means[rate])
    assert {chosen_rate(setting, each) for each in (experiment, *others)} == {found["chosen"]}
    assert len(people[0]) == setting.budget.rate_people != setting.budget.people
