"""The options of `dualhmr evaluate`: checked, and turned into schedules, weights and people."""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import Body, load_body
from dualhmr.bundle import ScheduleDefaults
from dualhmr.objective.objective import WITHOUT_TARGET
from dualhmr.objective.weights import LossWeights
from dualhmr_training.configuration import with_overrides
from dualhmr_training.data.licensed_sets import DATASETS
from dualhmr_training.evaluation.groups import (
    EvaluationGroup,
    detected_group,
    read_pool,
    synthetic_group,
)
from dualhmr_training.evaluation.licensed import GroundTruthBodies, licensed_group
from dualhmr_training.evaluation.protocols import SYNTHETIC, load_human36m_regressor
from dualhmr_training.plotting import check_plot
from dualhmr_training.training_folder import NetworkFacts, Networks


def check_schedules(
    networks: Networks, weights: LossWeights, schedules: Sequence[Schedule]
) -> None:
    """ValueError for a schedule that needs a pseudo mesh where there is no auxiliary network."""
    if networks.auxiliary is not None:
        return
    weighted = {name for name, weight in vars(weights).items() if weight}
    for schedule in schedules:
        used = [weighted if phase.losses is None else phase.losses for phase in schedule.phases]
        if set().union(*used) - WITHOUT_TARGET:
            raise ValueError(
                f"schedule {schedule.name!r} needs a pseudo mesh, and {networks.source} has no "
                "auxiliary network; use --schedule eft"
            )


_SYNTHETIC_COUNT = 200


def check_options(options: argparse.Namespace) -> None:
    """Refuses what can be refused before any work is done: ValueError, FileNotFoundError."""
    needed = [] if options.data == SYNTHETIC else ["datasets", "body", "joint_regressor"]
    missing = [name for name in needed if getattr(options, name) is None]
    if missing:
        wanted = " ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise ValueError(f"--data {options.data} needs {wanted}; see dualhmr evaluate --help")
    for name in ("count", "threads"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name} is {number}, expected 1 or more")
    for level in options.noise:
        if not 0 <= level <= 1:
            raise ValueError(f"--noise is {level:g}, expected a fraction of the size, from 0 to 1")
    rates = [("--adam-rate", rate) for rate in options.adam_rate or ()]
    if options.descent_rate is not None:
        rates.append(("--descent-rate", options.descent_rate))
    for option, rate in rates:
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"{option} is {rate:g}, expected more than 0")
    for path in filter(None, (options.json, options.plot)):
        if path.is_dir() or not path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: it must be a file in an existing folder")
    if options.plot:
        check_plot(options.plot)


def chosen_schedules(
    options: argparse.Namespace, defaults: ScheduleDefaults, weights: LossWeights
) -> list[Schedule]:
    """Those asked for, each at all the rates asked for, each once."""
    if options.descent_rate is not None:
        defaults = replace(defaults, descent_rate=options.descent_rate)
    schedules = [
        replace(defaults, adam_rate=rate).schedule(name, weights=weights)
        for name in dict.fromkeys(options.schedule or [defaults.name])
        for rate in dict.fromkeys(options.adam_rate or [defaults.adam_rate])
    ]
    if options.max_steps is None:
        return schedules
    return [schedule.limited_to(options.max_steps) for schedule in schedules]


def chosen_weights(options: argparse.Namespace, defaults: LossWeights) -> LossWeights:
    """The networks' own, but for those asked for."""
    weights = with_overrides(defaults, [f"--{pair}" for pair in options.weight])
    for name, weight in vars(weights).items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"--weight {name} is {weight:g}, expected 0 or more")
    return weights


def chosen_groups(
    options: argparse.Namespace, body: Body, facts: NetworkFacts, *, pictures: bool
) -> Iterator[EvaluationGroup]:
    """The people to evaluate on; `pictures` are drawn of synthetic ones.

    Photographs of people are cropped by the networks' convention, and their focal length, where it
    is not annotated, is the networks' guess: see `facts`.
    """
    if options.data != SYNTHETIC:
        yield _licensed(options, body, facts)
        return
    pool = read_pool(options.poses, held_out=options.held_out)
    for level in dict.fromkeys(options.noise):
        yield synthetic_group(
            body,
            pool,
            noise=level,
            count=options.count or _SYNTHETIC_COUNT,
            seed=options.seed,
            pictures=pictures,
        )
    if options.detected:
        yield detected_group(
            body,
            pool,
            count=options.count or _SYNTHETIC_COUNT,
            seed=options.seed,
            pictures=pictures,
        )


def described(options: argparse.Namespace) -> dict[str, str]:
    """What the report says of the options."""
    if options.data == SYNTHETIC:
        facts = {
            "poses": options.poses.name if options.poses else "pose prior",
            "clips": "held out" if options.held_out else "all",
            "seed": str(options.seed),
        }
    else:
        facts = {"keypoints": options.keypoints}
    if options.weight:
        facts["weights"] = " ".join(options.weight)
    if options.descent_rate is not None:
        facts["descent_rate"] = f"{options.descent_rate:g}"
    return facts


def _licensed(options: argparse.Namespace, body: Body, facts: NetworkFacts) -> EvaluationGroup:
    by_gender = {}
    if DATASETS[options.data].gendered:
        by_gender = _gendered_bodies(options.gendered_bodies, DATASETS[options.data].title)
    return licensed_group(
        options.data,
        options.datasets / options.data,
        body,
        GroundTruthBodies(load_human36m_regressor(options.joint_regressor), by_gender),
        keypoints=options.keypoints,
        count=options.count,
        annotations=options.annotations,
        crop=facts.crop,
        focal_length=facts.focal_length,
    )


def _gendered_bodies(paths: list[Path] | None, title: str) -> dict[str, Body]:
    if paths and len(paths) == 1 and paths[0].is_dir():
        paths = [_in_folder(paths[0], f"SMPL_{gender}") for gender in ("MALE", "FEMALE")]
    if not paths or len(paths) != 2:
        raise ValueError(
            f"the truth of {title} is the mesh of each person's gender: give --gendered-bodies "
            "the folder of SMPL_MALE and SMPL_FEMALE (.pkl or .npz), or both files, the male one "
            "first"
        )
    return dict(zip("mf", map(load_body, paths), strict=True))


def _in_folder(folder: Path, name: str) -> Path:
    arrays = folder / f"{name}.npz"
    return arrays if arrays.is_file() else folder / f"{name}.pkl"
