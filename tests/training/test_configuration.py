from dataclasses import replace

import pytest

from dualhmr_training.configuration import InnerLoop, OptimiserConfig, TrainingConfig
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.presets import demo, demo_keypoints, synthetic_resnet

EYE = {"auxiliary": demo().auxiliary}
RESNET = synthetic_resnet().main


def test_a_misspelt_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="batch_size"):
        TrainingConfig(main=demo().main, auxiliary=None, batch_size=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "fp16"}, "precision is 'fp16', expected one of no, bf16"),
        ({"data": "coco"}, "data is 'coco', expected one of synthetic, datasets"),
        ({"batch": 0}, "batch is 0, expected 1 or more"),
        ({"steps": -1}, "steps is -1, expected 0 or more"),
        ({"validate_every": 0}, "validate_every is 0, expected 1 or more"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0, expected 1 or more"),
        ({"dropout": 1.0}, "dropout is 1.0, expected 0 or more and less than 1"),
        ({"ema_decay": -0.1}, "ema_decay is -0.1"),
        ({"ema_decay": float("nan")}, "ema_decay is nan"),
        ({"epochs": 3}, "no epochs of synthetic people; give steps"),
        ({"precision": "bf16", "inner": InnerLoop(scope="all")}, "lost in bf16"),
        ({"landmarks": LandmarkErrors()}, "that read the image are missing and data is synthetic"),
        ({"landmarks": LandmarkErrors(), **EYE, "data": "datasets"}, "and data is datasets"),
        (
            {"landmarks": LandmarkErrors(), **EYE, "main": RESNET},
            "are landmark_trunk, resnet50",
        ),
        ({"landmarks": LandmarkErrors(), **EYE, "precision": "bf16"}, "precision must be no"),
    ],
)
def test_values_that_no_training_has(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(demo_keypoints(), **change)  # type: ignore[arg-type]


def test_people_are_rendered_for_networks_that_look_at_them() -> None:
    assert not demo_keypoints().renders
    assert synthetic_resnet().renders
    assert not demo().renders
    assert replace(demo(), landmarks=None).renders


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "optimiser.learning_rate is 0.0, expected more than 0"),
        ({"final_rate": float("nan")}, "optimiser.final_rate is nan"),
        ({"max_norm": -1.0}, "optimiser.max_norm is -1.0"),
        ({"warm_up_steps": -1}, "optimiser.warm_up_steps is -1"),
    ],
)
def test_optimisers_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimiserConfig(**change)  # type: ignore[arg-type]
