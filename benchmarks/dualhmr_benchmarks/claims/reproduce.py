"""All artefacts by name; evaluates one and writes its table, plot and further files."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dualhmr_benchmarks.claims import ablations, evidence, figures, tables
from dualhmr_benchmarks.claims.artefact import Artefact, Row
from dualhmr_benchmarks.claims.experiments.evaluations import (
    chosen_rate,
    errors_by_seed,
    evaluate_all,
    experiment_failure,
)
from dualhmr_benchmarks.claims.experiments.experiment import Experiment, people_count
from dualhmr_benchmarks.claims.experiments.populations import QUALITIES, describe_quality
from dualhmr_benchmarks.claims.experiments.recipes import RECIPES
from dualhmr_benchmarks.claims.experiments.setting import Setting, file_sha256
from dualhmr_benchmarks.claims.experiments.shared_weights import HEAD
from dualhmr_benchmarks.claims.experiments.trainings import TrainingRun, training_folder
from dualhmr_benchmarks.claims.reports.report import (
    ClaimReport,
    MeasuredRow,
    write_claim_report,
)
from dualhmr_benchmarks.claims.reports.row_plots import write_levels_plot, write_report_plot
from dualhmr_benchmarks.claims.reports.statistics import (
    PairedDifference,
    paired_difference,
    seed_means,
)
from dualhmr_training.training_folder import RECORD, current_commit, read_record

ARTEFACTS: Mapping[str, Artefact] = {
    artefact.name: artefact
    for artefact in (
        tables.TABLE_1,
        tables.TABLE_2,
        tables.TABLE_3,
        tables.TABLE_5,
        figures.TABLE_6,
        ablations.TABLE_7,
        ablations.TABLE_8,
        tables.TABLE_9,
        ablations.TABLE_10,
        ablations.TABLE_11,
        figures.FIGURE_3,
        figures.FIGURE_4,
        figures.FIGURE_6,
        ablations.SCOPE,
        ablations.SCHEDULE,
        ablations.BATCH,
        evidence.EVIDENCE,
    )
}


def reproduce(
    artefact: Artefact, setting: Setting, out: Path, *, say: Callable[[str], None]
) -> ClaimReport:
    """Evaluates what the cache does not have, and writes table, plot and the rest into `out`."""
    evaluate_all(setting, artefact.experiments, say=say)
    out.mkdir(parents=True, exist_ok=True)
    extra_facts = artefact.extra_files(setting, out) if artefact.extra_files else {}
    report = ClaimReport(
        name=artefact.name,
        title=artefact.title,
        says=artefact.says,
        comparable=artefact.comparable,
        facts={**_facts(artefact, setting), **extra_facts},
        lines=tuple(_measured_row(setting, artefact, row) for row in artefact.rows),
        differences=tuple(_differences(setting, artefact)),
        trainings=tuple(_trainings(setting, artefact)),
    )
    write_claim_report(report, out)
    if artefact.levels:
        write_levels_plot(report, artefact.levels, out / "plot.png")
    elif report.lines:
        write_report_plot(report, out / "plot.png")
    return report


def _measured_row(setting: Setting, artefact: Artefact, row: Row) -> MeasuredRow:
    seeds = errors_by_seed(setting, row.experiment)
    measured = {name: seed_means(seeds, name, row.step) for name in artefact.measures if seeds}
    note = experiment_failure(setting, row.experiment) or ""
    return MeasuredRow(row.label, measured, dict(row.paper), note)


def _differences(setting: Setting, artefact: Artefact) -> Iterator[PairedDifference]:
    for comparison in artefact.comparisons:
        of, against = artefact.row(comparison.of), artefact.row(comparison.against)
        ours, others = (errors_by_seed(setting, row.experiment) for row in (of, against))
        measure = comparison.measure
        if ours and others:
            in_paper = measure in of.paper and measure in against.paper
            yield paired_difference(
                f"{of.label} - {against.label}",
                ours,
                others,
                measure,
                of_step=of.step,
                against_step=against.step,
                paper=of.paper[measure] - against.paper[measure] if in_paper else None,
            )


def _facts(artefact: Artefact, setting: Setting) -> Mapping[str, str]:
    facts = {
        "command": f"dualhmr reproduce {artefact.name} --budget {setting.budget.name} "
        f"--seeds {len(setting.seeds)} --poses {setting.poses.name} "
        f"--test-poses {setting.test_poses.name}",
        "commit": current_commit(),
    }
    if not artefact.rows:
        return facts
    counts = sorted({people_count(setting, each) for each in artefact.experiments})
    used = {each.quality for each in artefact.experiments}
    return {
        **facts,
        "budget": setting.budget.name,
        "seeds": ", ".join(map(str, setting.seeds)),
        "people": " or ".join(map(str, counts)),
        "poses": _with_digest(setting.poses),
        "test poses": _with_digest(setting.test_poses),
        **{f"keypoints of {each}": describe_quality(each) for each in QUALITIES if each in used},
        "Adam's rate at test time": _rates(artefact, setting),
    }


def _with_digest(path: Path) -> str:
    return f"{path.name} (sha256 {file_sha256(path)[:12]})"


def _rates(artefact: Artefact, setting: Setting) -> str:
    """The rate of every method, see `choose_rates`."""
    rates = {
        _method_name(each): chosen_rate(setting, each)
        for each in artefact.experiments
        if not experiment_failure(setting, each)
    }
    return "; ".join(f"{method}: {rate:g}" for method, rate in rates.items())


def _method_name(experiment: Experiment) -> str:
    name = f"{experiment.recipe} by {experiment.schedule}"
    if experiment.scope != HEAD:
        name += f" of {experiment.scope.replace('_', ' ')}"
    if experiment.auxiliary_from is not None:
        name += f", auxiliary of {experiment.auxiliary_from}"
    if experiment.true_mesh:
        name += ", truth as pseudo mesh"
    if experiment.of_auxiliary:
        name += ", auxiliary network alone"
    if experiment.people_at_once != 1:
        name += f", {experiment.people_at_once} people together"
    return name


def _trainings(setting: Setting, artefact: Artefact) -> Iterator[dict[str, str]]:
    """Recipe by recipe, each after the one that it starts from."""
    recipes: list[str] = []
    for recipe in (each for experiment in artefact.experiments for each in experiment.recipes):
        before = RECIPES[recipe].starts_from
        recipes += [recipe] if before is None else [before, recipe]
    for recipe in dict.fromkeys(recipes):
        for seed in setting.seeds:
            folder = training_folder(setting, TrainingRun(recipe, seed))
            if (folder / RECORD).is_file():
                yield {
                    "recipe": recipe,
                    "seed": str(seed),
                    "folder": folder.name,
                    "commit": read_record(folder)["commit"],
                }
