"""Options that several subcommands have, each declared once, and what is made of them."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from dualhmr.adaptation.schedule import ITERATES, SCHEDULE_NAMES
from dualhmr.detection import DEFAULT_DETECTOR
from dualhmr.engines import AUTO, BACKENDS, PROVIDERS
from dualhmr.keypoints import MIN_PERSON_SCORE
from dualhmr.person_fitting import ADAPTATIONS
from dualhmr.recoverer import Recoverer, RecovererOptions
from dualhmr.recovery import OVERLAY_COLORS

OF_RECOVERER = tuple(each.name for each in fields(RecovererOptions))
"""Those that `recoverer_options` reads."""
OF_SCHEDULE = ("schedule", "max_steps", "iterate")
"""Those that `schedule_options` reads."""
_SHARED: dict[str, dict[str, Any]] = {
    "out": {"type": Path, "default": Path("dualhmr-out"), "help": "folder (%(default)s)"},
    "host": {"default": "127.0.0.1", "help": "address to listen on (%(default)s)"},
    "port": {"type": int, "help": "0 is a free one (%(default)s)"},
    "bundle": {"help": "networks other than the default ones"},
    "body": {"help": "body file, for bundles trained on SMPL"},
    "device": {"help": "cpu (default), cuda, cuda:1, or auto"},
    "backend": {
        "choices": BACKENDS,
        "default": AUTO,
        "help": "of the frozen networks (%(default)s)",
    },
    "adaptation": {
        "choices": ADAPTATIONS,
        "default": AUTO,
        "help": "with PyTorch or without (%(default)s)",
    },
    "provider": {
        "choices": PROVIDERS,
        "help": "of ONNX Runtime; that of the device if left out",
    },
    "threads": {"type": int, "metavar": "N", "help": "CPU threads (all cores)"},
    "detector": {
        "help": "finds people: movenet, rtmlib:body, rtmlib:body_with_feet, "
        f"rtmlib:wholebody, or ultralytics:FILE ({DEFAULT_DETECTOR})"
    },
    "min_person_score": {
        "type": float,
        "default": MIN_PERSON_SCORE,
        "metavar": "S",
        "help": "persons with a lower score of the detector are left out (%(default)s)",
    },
    "max_pixels": {
        "type": int,
        "metavar": "N",
        "help": "largest width times height of a photograph (twice Pillow's limit, 179 million)",
    },
    "schedule": {"choices": SCHEDULE_NAMES, "help": "the bundle's if left out"},
    "max_steps": {"type": int, "metavar": "N", "help": "of adaptation; the schedule's if left out"},
    "iterate": {
        "choices": ITERATES,
        "help": "which iterate is the result: the one with the lowest loss, or the last "
        "(best; of the schedule release, last)",
    },
    "color": {
        "choices": OVERLAY_COLORS,
        "default": OVERLAY_COLORS[0],
        "help": "what the colours of overlay.png and steps.png show (%(default)s)",
    },
    "focal_length": {"type": float, "metavar": "PIXELS", "help": "if it is known"},
}
Options = TypeVar("Options")


def add_options(group: Any, *names: str, **changes: dict[str, Any]) -> None:
    """Declares those of `names` on a parser or a group of it.

    `changes` are for options that a subcommand describes in another way: keywords of
    `add_argument`, by the option's name.
    """
    for name in names:
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, **_SHARED[name] | changes.get(name, {}))


def chosen(kind: type[Options], options: argparse.Namespace) -> Options:
    """A dataclass with the parsed options of its fields' names."""
    names = (each.name for each in fields(kind))  # type: ignore[arg-type]
    return kind(**{name: getattr(options, name) for name in names})


def schedule_options(options: argparse.Namespace) -> dict[str, Any]:
    """Those of `Recoverer.recover`."""
    return {name: getattr(options, name) for name in OF_SCHEDULE}


def open_recoverer(options: argparse.Namespace, **others: Any) -> Recoverer:
    """The `Recoverer` of options that `OF_RECOVERER` names; `others` are further arguments."""
    return chosen(RecovererOptions, options).open(**others)
