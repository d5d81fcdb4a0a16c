import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from dualhmr.plain_data import from_plain


@dataclass(frozen=True)
class Weights:
    pose: float = 1.0
    shape: float = 0.001


@dataclass(frozen=True)
class Settings:
    name: str
    steps: int
    image_size: tuple[int, int]
    reads: tuple[str, ...]
    options: dict[str, int]
    weights: Weights
    rate: float | None = None
    verbose: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    stages: tuple[Weights, ...] = ()


SETTINGS = Settings(
    name="a",
    steps=3,
    image_size=(256, 192),
    reads=("image", "keypoints"),
    options={"width": 48},
    weights=Weights(pose=2.5),
    rate=1e-4,
    verbose=True,
    tags={"commit": "f00"},
    stages=(Weights(), Weights(shape=7.0)),
)


def plain(**changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps(asdict(SETTINGS)))
    return settings | changes


def test_settings_come_back_from_json() -> None:
    assert from_plain(Settings, plain()) == SETTINGS
    assert from_plain(Settings, asdict(SETTINGS)) == SETTINGS


def test_fields_with_defaults_can_be_left_out() -> None:
    short = plain()
    for name in ("rate", "verbose", "tags", "stages"):
        del short[name]
    settings = from_plain(Settings, short)
    assert (settings.rate, settings.verbose, settings.tags, settings.stages) == (
        None,
        False,
        {},
        (),
    )
    assert from_plain(Settings, plain(rate=None)).rate is None


def test_whole_numbers_pass_for_real_ones() -> None:
    rate = from_plain(Settings, plain(rate=2)).rate
    assert rate == 2
    assert type(rate) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "a", "stpes": 2}, "unknown Settings field nmae, stpes; known are name, steps"),
        ({"name": 3}, "name is 3, expected str"),
        ({"name": None}, "name is None, expected str"),
        ({"steps": "3"}, "steps is '3', expected int"),
        ({"steps": 3.0}, "steps is 3.0, expected int"),
        ({"steps": True}, "steps is True, expected int"),
        ({"verbose": 1}, "verbose is 1, expected bool"),
        ({"rate": "1e-4"}, "rate is '1e-4', expected float"),
        ({"rate": False}, "rate is False, expected float"),
        ({"image_size": [256]}, "image_size has 1 entries, expected 2"),
        ({"image_size": [256, 192.5]}, r"image_size\[1\] is 192.5, expected int"),
        ({"image_size": 256}, r"image_size is 256, expected tuple\[int, int\]"),
        ({"reads": "image"}, r"reads is 'image', expected tuple\[str, ...\]"),
        ({"reads": ["image", None]}, r"reads\[1\] is None, expected str"),
        ({"options": {"width": "48"}}, "options.width is '48', expected int"),
        ({"options": [["width", 48]]}, r"options is .*, expected dict\[str, int\]"),
        ({"weights": {"pose": "x"}}, "weights.pose is 'x', expected float"),
        ({"weights": {"poes": 1.0}}, "unknown weights field poes; known are pose, shape"),
        ({"weights": None}, "weights is None, expected an object with fields"),
        ({"stages": [{}, {"shape": []}]}, r"stages\[1\].shape is \[\], expected float"),
    ],
)
def test_errors_name_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        from_plain(Settings, plain(**changes))


@pytest.mark.parametrize("name", ["name", "steps", "image_size", "reads", "options", "weights"])
def test_missing_fields_are_named(name: str) -> None:
    short = plain()
    del short[name]
    with pytest.raises(ValueError, match=f"Settings lacks the field {name}$"):
        from_plain(Settings, short)


@pytest.mark.parametrize("given", [None, [], "text", 3])
def test_what_is_no_object_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"Settings is .*, expected an object with fields"):
        from_plain(Settings, given)
