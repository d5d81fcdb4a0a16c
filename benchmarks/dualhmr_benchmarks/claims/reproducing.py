"""From an artefact to the files that show it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dualhmr_benchmarks.claims.artefact import Artefact, Row
from dualhmr_benchmarks.claims.experiments.outcomes import measure_all, obstacle_of, outcomes
from dualhmr_benchmarks.claims.experiments.populations import QUALITIES, described
from dualhmr_benchmarks.claims.experiments.rates import chosen_rate
from dualhmr_benchmarks.claims.experiments.recipes import RECIPES
from dualhmr_benchmarks.claims.experiments.setting import Setting, file_sha256
from dualhmr_benchmarks.claims.experiments.shared_weights import HEAD
from dualhmr_benchmarks.claims.experiments.trainings import Training, training_folder
from dualhmr_benchmarks.claims.experiments.trials import Trial, people_count
from dualhmr_benchmarks.claims.reports.report import Difference, Line, Report, difference, spread
from dualhmr_benchmarks.claims.reports.report_plot import write_report_plot
from dualhmr_benchmarks.claims.reports.report_text import write_report
from dualhmr_training.training_folder import RECORD, current_commit, read_record


def reproduce(
    artefact: Artefact, setting: Setting, out: Path, *, say: Callable[[str], None]
) -> Report:
    """Measures what is still to be measured, and writes table, plot and the rest into `out`."""
    measure_all(setting, artefact.trials, say=say)
    out.mkdir(parents=True, exist_ok=True)
    further = artefact.also(setting, out) if artefact.also else {}
    report = Report(
        name=artefact.name,
        title=artefact.title,
        says=artefact.says,
        comparable=artefact.comparable,
        facts={**_facts(artefact, setting), **further},
        lines=tuple(_line(setting, artefact, row) for row in artefact.rows),
        differences=tuple(_differences(setting, artefact)),
        trainings=tuple(_trainings(setting, artefact)),
    )
    write_report(report, out)
    if report.lines:
        write_report_plot(report, out / "plot.png")
    return report


def _line(setting: Setting, artefact: Artefact, row: Row) -> Line:
    of_seeds = outcomes(setting, row.trial)
    measured = {name: spread(of_seeds, name, row.step) for name in artefact.measures if of_seeds}
    return Line(row.label, measured, dict(row.paper), obstacle_of(setting, row.trial) or "")


def _differences(setting: Setting, artefact: Artefact) -> Iterator[Difference]:
    for contrast in artefact.contrasts:
        of, against = artefact.row(contrast.of), artefact.row(contrast.against)
        found, other = (outcomes(setting, row.trial) for row in (of, against))
        if found and other:
            yield difference(
                f"{contrast.of} - {contrast.against}",
                found,
                other,
                contrast.measure,
                of_step=of.step,
                against_step=against.step,
                paper=_paper_difference(contrast.measure, of, against),
            )


def _paper_difference(measure: str, of: Row, against: Row) -> float | None:
    if not (measure in of.paper and measure in against.paper):
        return None
    return of.paper[measure] - against.paper[measure]


def _facts(artefact: Artefact, setting: Setting) -> Mapping[str, str]:
    facts = {
        "command": f"dualhmr reproduce {artefact.name} --budget {setting.budget.name} "
        f"--seeds {len(setting.seeds)} --poses {setting.poses.name} "
        f"--test-poses {setting.test_poses.name}",
        "commit": current_commit(),
    }
    if not artefact.rows:
        return facts
    counts = sorted({people_count(setting, trial) for trial in artefact.trials})
    facts |= {
        "budget": setting.budget.name,
        "seeds": ", ".join(map(str, setting.seeds)),
        "people": " or ".join(map(str, counts)),
        "poses": f"{setting.poses.name} (sha256 {file_sha256(setting.poses)[:12]})",
        "test poses": f"{setting.test_poses.name} (sha256 {file_sha256(setting.test_poses)[:12]})",
    }
    used = {trial.quality for trial in artefact.trials}
    facts |= {
        f"keypoints of {quality}": described(quality) for quality in QUALITIES if quality in used
    }
    return facts | {"Adam's rate at test time": _rates(artefact, setting)}


def _rates(artefact: Artefact, setting: Setting) -> str:
    """Of every method, as chosen; see `experiments.rates`."""
    rates = {
        f"{trial.recipe} by {trial.schedule}"
        + ("" if trial.moves == HEAD else f" of {trial.moves.replace('_', ' ')}")
        + ("" if trial.people_at_once == 1 else f", {trial.people_at_once} people together"): (
            f"{chosen_rate(setting, trial):g}"
        )
        for trial in artefact.trials
        if not obstacle_of(setting, trial)
    }
    return "; ".join(f"{method}: {rate}" for method, rate in rates.items())


def _trainings(setting: Setting, artefact: Artefact) -> Iterator[dict[str, str]]:
    for recipe in dict.fromkeys(_recipes(artefact.trials)):
        for seed in setting.seeds:
            folder = training_folder(setting, Training(recipe, seed))
            if (folder / RECORD).is_file():
                yield {
                    "recipe": recipe,
                    "seed": str(seed),
                    "folder": folder.name,
                    "commit": read_record(folder)["commit"],
                }


def _recipes(trials: tuple[Trial, ...]) -> Iterator[str]:
    for trial in trials:
        before = RECIPES[trial.recipe].starts_from
        if before is not None:
            yield before
        yield trial.recipe
