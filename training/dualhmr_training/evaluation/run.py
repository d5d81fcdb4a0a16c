"""An evaluation from the options of `dualhmr evaluate` to its report."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict

import torch

from dualhmr.body.model import matching_body
from dualhmr.files import write_json
from dualhmr_training.evaluation.adapting import PeopleAdapter, evaluate
from dualhmr_training.evaluation.options import (
    check_options,
    check_schedules,
    chosen_groups,
    chosen_schedules,
    chosen_weights,
    described,
)
from dualhmr_training.evaluation.plot import write_plot
from dualhmr_training.evaluation.report import Report, table
from dualhmr_training.evaluation.subjects import Group
from dualhmr_training.spin_joints import read_extra_joints
from dualhmr_training.training_folder import open_networks


def run_evaluation(options: argparse.Namespace) -> None:
    """Evaluates as the options say, prints the table, writes the files.

    Raises ValueError, FileNotFoundError and what opening networks, bodies and people does.
    """
    check_options(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    networks = open_networks(options.networks)
    weights = chosen_weights(options, networks.facts.weights)
    schedules = chosen_schedules(options, networks.facts.schedule)
    check_schedules(networks, weights, schedules)
    body = matching_body(options.body, needed=networks.facts.body, networks=networks.source)
    extra = None if options.extra_joints is None else read_extra_joints(options.extra_joints)
    evaluations = []
    for group in chosen_groups(options, body, pictures="image" in networks.reads):
        adapter = PeopleAdapter(
            networks, body, group.keypoint_set, weights=weights, extra_joints=extra
        )
        evaluations += evaluate(adapter, group, schedules, progress=_progress(group))
    report = Report(
        bundle=networks.name,
        body=body.name,
        engine=f"torch {torch.__version__} cpu",
        data=options.data,
        options=described(options),
        evaluations=tuple(evaluations),
    )
    print(table(report, every_step=options.every_step))
    if options.json:
        write_json(options.json, asdict(report))
    if options.plot:
        write_plot(report, options.plot)


def _progress(group: Group) -> Callable[[int], None]:
    """Says ten times or so how far it is."""
    next_told = 0

    def tell(done: int) -> None:
        nonlocal next_told
        if done >= next_told or done == group.count:
            print(f"{group.keypoints}: {done} of {group.count} people", file=sys.stderr, flush=True)
            next_told = done + group.count // 10

    return tell
