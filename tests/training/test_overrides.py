import json
from dataclasses import asdict, replace

import pytest

from dualhmr.plain_data import from_plain
from dualhmr_training.configuration import InnerLoop, TrainingConfig, differences, with_overrides
from dualhmr_training.presets import PRESETS, demo_keypoints


def test_nothing_given_nothing_changed() -> None:
    assert with_overrides(demo_keypoints(), []) == demo_keypoints()


def test_values_of_every_kind() -> None:
    given = (
        "--steps 7 --precision bf16 --dropout 0 --ema_decay 0.99 --optimiser.learning_rate 2e-4 "
        "--inner.second_order true --main.backbone_options.blocks 5 --weights.betas 1"
    )
    config = with_overrides(demo_keypoints(), given.split())
    assert (config.steps, config.precision, config.dropout) == (7, "bf16", 0.0)
    assert isinstance(config.dropout, float)
    assert config.ema_decay == 0.99
    assert config.optimiser == replace(demo_keypoints().optimiser, learning_rate=2e-4)
    assert config.inner == replace(demo_keypoints().inner, second_order=True)
    assert config.main.backbone_options == {**demo_keypoints().main.backbone_options, "blocks": 5}
    assert config.weights.betas == 1.0


def test_null_and_lists() -> None:
    config = with_overrides(
        demo_keypoints(),
        ["--auxiliary", "null", "--inner.losses", '["keypoints_2d"]', "--epochs", "null"],
    )
    assert config.auxiliary is None
    assert config.inner.losses == ("keypoints_2d",)
    assert config.epochs is None


def test_an_equals_sign_and_negative_numbers() -> None:
    config = with_overrides(
        demo_keypoints(), ["--steps=3", "--weights.camera", "-1e-3", "--seed=4"]
    )
    assert (config.steps, config.weights.camera, config.seed) == (3, -1e-3, 4)


def test_the_last_one_counts() -> None:
    assert with_overrides(demo_keypoints(), ["--steps", "3", "--steps", "4"]).steps == 4


def test_a_whole_part_at_once() -> None:
    config = with_overrides(demo_keypoints(), ["--inner", '{"steps": 2}', "--inner.steps", "3"])
    assert config.inner == InnerLoop(steps=3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--stepz 3", r"there is no field --stepz; known here are main, auxiliary, inner, .*steps"),
        ("--inner.learning_rat 3", r"--inner.learning_rat; known here are steps, learning_rate"),
        ("--main.backbone_options.depth 3", r"options.depth; known here are keypoint_count, feat"),
        ("--iner.steps 3", r"there is no field --iner; known here are main"),
        ("--steps.more 3", r"there is no field --steps.more: steps is 10000"),
        ("--auxiliary null --auxiliary.hidden 3", r"--auxiliary.hidden: auxiliary is null"),
        ("--steps", r"--steps needs a value"),
        ("--seed 3 --steps", r"--steps needs a value"),
        ("steps 3", r"'steps' is not a field; write --field value"),
        ("-s 3", r"'-s' is not a field"),
        ("-- 3", r"there is no field --;"),
        ("--steps many", r"steps is 'many', expected int"),
        ("--steps 1.5", r"steps is 1.5, expected int"),
        ("--steps true", r"steps is True, expected int"),
        ("--steps null", r"steps is None, expected int"),
        ("--inner.second_order 1", r"inner.second_order is 1, expected bool"),
        ("--inner.losses keypoints_2d", r"inner.losses is 'keypoints_2d', expected tuple"),
        ("--precision 16", r"precision is 16, expected str"),
        ("--auxiliary.reads [1]", r"auxiliary.reads\[0\] is 1, expected str"),
        ("--inner.steps -1", r"inner steps are -1"),
    ],
)
def test_errors_name_the_field_and_the_known_ones(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_overrides(demo_keypoints(), given.split())


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_plain_values_there_and_back(preset: str) -> None:
    config = PRESETS[preset]()
    assert from_plain(TrainingConfig, json.loads(json.dumps(asdict(config)))) == config


def test_every_field_can_be_given() -> None:
    given = [f"--{name}={json.dumps(value)}" for name, value in asdict(demo_keypoints()).items()]
    assert with_overrides(PRESETS["paper-cliff-resnet"](), given) == demo_keypoints()


def test_differences_are_named_with_both_values() -> None:
    here = with_overrides(
        demo_keypoints(), ["--steps", "3", "--inner.losses", "[]", "--main.hidden", "7"]
    )
    assert differences(demo_keypoints(), demo_keypoints()) == []
    assert differences(demo_keypoints(), here) == [
        "main.hidden was 256 and is 7",
        "inner.losses was null and is []",
        "steps was 10000 and is 3",
    ]
    without = replace(demo_keypoints(), auxiliary=None)
    (difference,) = differences(without, demo_keypoints())
    assert difference.startswith('auxiliary was null and is {"backbone": "keypoint_trunk"')
