"""An evaluation from the options of `dualhmr evaluate` to its report."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import torch
from tqdm import tqdm

from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.model import matching_body
from dualhmr.files import write_json
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.comparison import category_table, difference_table
from dualhmr_training.evaluation.errors import measure_errors
from dualhmr_training.evaluation.groups import EvaluationGroup
from dualhmr_training.evaluation.options import (
    check_options,
    check_schedules,
    chosen_groups,
    chosen_schedules,
    chosen_weights,
    described,
)
from dualhmr_training.evaluation.plot import write_evaluation_plot
from dualhmr_training.evaluation.report import (
    Evaluation,
    EvaluationReport,
    evaluation_table,
    read_evaluation_report,
    summarise,
)
from dualhmr_training.training_folder import open_networks

DIFFERENCES = "Differences, 95% intervals by a bootstrap over clips (*: without zero):"


def run_evaluation(options: argparse.Namespace) -> None:
    """Evaluates as the options say, prints the table, writes the files.

    Raises ValueError, FileNotFoundError and what opening networks, bodies and people does.
    """
    check_options(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    networks = open_networks(options.networks)
    weights = chosen_weights(options, networks.facts.weights)
    schedules = chosen_schedules(options, networks.facts.schedule, weights)
    check_schedules(networks, weights, schedules)
    body = matching_body(
        options.body,
        needed=networks.facts.body,
        networks=networks.source,
        extra_joints=options.extra_joints,
    )
    evaluations = []
    for group in chosen_groups(options, body, networks.facts, pictures="image" in networks.reads):
        fitter = BatchFitter(networks, body, group.keypoint_set, weights=weights)
        evaluations += evaluate(fitter, group, schedules)
    report = EvaluationReport(
        bundle=networks.name,
        body=body.name,
        engine=f"torch {torch.__version__} cpu",
        data=options.data,
        options=described(options),
        evaluations=tuple(evaluations),
    )
    print(evaluation_table(report, every_step=options.every_step))
    other = None if options.against is None else read_evaluation_report(options.against)
    for title, table in (
        ("By category, after adaptation:", category_table(report) if options.by_category else None),
        (DIFFERENCES, difference_table(report)),
        (f"{DIFFERENCES} {options.against}", other and difference_table(report, other)),
    ):
        if table:
            print(f"\n{title}\n\n{table}")
    if options.json:
        write_json(options.json, asdict(report))
    if options.plot:
        write_evaluation_plot(report, options.plot)


def evaluate(
    fitter: BatchFitter, group: EvaluationGroup, schedules: Sequence[Schedule]
) -> list[Evaluation]:
    """An evaluation for every schedule, all on the same people; raises as `measure_errors`."""
    with tqdm(
        total=group.count,
        desc=group.keypoints,
        bar_format="{desc}: {n_fmt} of {total_fmt} people |{bar}| {elapsed}<{remaining}",
    ) as bar:
        errors = measure_errors(fitter, group, schedules, progress=bar.update)
    return [
        summarise(
            people,
            joint_names=group.joints.names,
            keypoints=group.keypoints,
            schedule=schedule.name,
            adam_rate=schedule.phases[-1].optimiser.learning_rate,
        )
        for schedule, people in zip(schedules, errors, strict=True)
    ]
