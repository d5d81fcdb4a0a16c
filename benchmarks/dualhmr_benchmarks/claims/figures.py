"""The paper's figures (error against step, strips of steps, error by joint) and its latencies."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.files import atomic_path
from dualhmr_benchmarks.claims.artefact import MPJPE, PA_MPJPE, Artefact, Comparison, Row
from dualhmr_benchmarks.claims.experiments.evaluations import Array, SeedErrors, errors_by_seed
from dualhmr_benchmarks.claims.experiments.experiment import EFT, TRAINED, Experiment
from dualhmr_benchmarks.claims.experiments.setting import Setting
from dualhmr_benchmarks.claims.pictures import STRIP_EXPERIMENTS, write_strips
from dualhmr_benchmarks.claims.reports.curves_plot import write_curves
from dualhmr_benchmarks.claims.reports.row_plots import write_joints
from dualhmr_benchmarks.claims.reports.statistics import paired
from dualhmr_benchmarks.latency.measure import measure
from dualhmr_benchmarks.latency.report import (
    latency_tables,
    write_latency_json,
    write_latency_plot,
)

_MANY_STEPS = 30
_METHODS = {
    label: Experiment(recipe, schedule, steps=_MANY_STEPS, every_step=True)
    for label, recipe, schedule in (
        ("EFT HMR", "hmr_ordinary", EFT),
        ("EFT CLIFF", "cliff_ordinary", EFT),
        ("ours HMR", "hmr_dual", TRAINED),
        ("ours CLIFF", "cliff_dual", TRAINED),
    )
}
_ROW_STEPS = (0, 6, 14, _MANY_STEPS)


def _curves(setting: Setting, out: Path) -> Mapping[str, str]:
    curves = {label: errors_by_seed(setting, each) for label, each in _METHODS.items()}
    write_curves(curves, out / "curves.png")
    facts = {}
    for label, seeds in curves.items():
        if seeds:
            lowest = int(np.argmin(_mean(seeds, PA_MPJPE)))
            loss = _mean(seeds, "objective")
            fall = loss[0] - loss[-1]
            done = (loss[0] - loss[6]) / fall if fall else 0.0
            name = "lowest PA-MPJPE after, and share of the loss's fall in 30 steps done after 6"
            facts[f"{label}: {name}"] = f"{lowest} steps, {done:.0%}"
    return facts


def _mean(seeds: list[SeedErrors], measure: str) -> Array:
    """(T + 1,) over people, then over seeds."""
    means: Array = np.mean([each.measures[measure].mean(0) for each in seeds], axis=0)
    return means


FIGURE_3 = Artefact(
    name="figure3",
    title="Error against the test-time step",
    says="EFT gets better for a few steps and then worse, as it fits the errors of its keypoints; "
    "ours keeps getting better, and converges in about 6 steps.",
    comparable="The shape of the curves: where they are lowest, and whether they rise after it. "
    "Errors are those of the best iterate so far, which is what would be returned.",
    rows=tuple(
        Row(f"{label}, step {step}", trial, step)
        for label, trial in _METHODS.items()
        for step in _ROW_STEPS
    ),
    comparisons=tuple(
        Comparison(f"{label}, step {late}", f"{label}, step {early}")
        for label in _METHODS
        for early, late in ((0, 6), (6, 14), (14, _MANY_STEPS))
    ),
    measures=(MPJPE, PA_MPJPE),
    extra_files=_curves,
)

FIGURE_4 = Artefact(
    name="figure4",
    title="Bodies after every step",
    says="The mesh deviates at first and is repaired step by step.",
    comparable="What the pictures show; no numbers.",
    extra_experiments=STRIP_EXPERIMENTS,
    extra_files=write_strips,
)

_EFT, _OURS = Experiment("cliff_ordinary", EFT), Experiment("cliff_dual", TRAINED)
_FEET = [index for index, name in enumerate(JOINT_NAMES) if name.endswith(("ankle", "foot"))]


def _by_joint(setting: Setting, out: Path) -> Mapping[str, str]:
    ours, eft = errors_by_seed(setting, _OURS), errors_by_seed(setting, _EFT)
    if not (ours and eft):
        return {"joints": "not compared, as there are no networks"}
    write_joints(ours, eft, JOINT_NAMES, out / "joints.png", title="ours minus EFT, CLIFF")
    facts = {}
    for title, kind in (("MPJPE", "joints_mm"), ("PA-MPJPE", "aligned_joints_mm")):
        of, against = ([getattr(each, kind)[:, -1] for each in seeds] for seeds in (ours, eft))
        gains = paired(of, against).mean((0, 1))
        facts[f"{title}: joints where ours is nearer"] = f"{(gains < 0).sum()} of {len(gains)}"
        facts[f"{title}: mean over ankles and feet, over all joints"] = (
            f"{gains[_FEET].mean():+.1f} mm, {gains.mean():+.1f} mm"
        )
    return facts


FIGURE_6 = Artefact(
    name="figure6",
    title="Gain over EFT, joint by joint",
    says="Ours is better at every joint in PA-MPJPE, and gains most at the feet.",
    comparable="Which joints gain; the paper shows colours, no numbers.",
    rows=(Row("EFT CLIFF", _EFT), Row("ours CLIFF", _OURS)),
    comparisons=(
        Comparison("ours CLIFF", "EFT CLIFF", MPJPE),
        Comparison("ours CLIFF", "EFT CLIFF"),
    ),
    extra_files=_by_joint,
)


def _latency(setting: Setting, out: Path) -> Mapping[str, str]:
    budget = setting.budget
    with tempfile.TemporaryDirectory() as folder:
        report = measure(
            budget.latency_networks,
            Path(folder),
            rounds=budget.latency_rounds,
            device=setting.device,
        )
    with atomic_path(out / "latency.md") as path:
        path.write_text(latency_tables(report) + "\n", encoding="utf-8")
    write_latency_json(report, out / "latency.json")
    write_latency_plot(report, out / "latency.png")
    measured = {
        f"{each.networks}, {each.method}": (
            f"{each.ms_per_iteration:.2f} ms an iteration, {report.ratio(each):.1f} times as fast "
            "as the paper's formulation here"
        )
        for each in report.measured
    }
    return {
        "machine": f"{report.machine}, {report.threads} thread(s); medians of {report.rounds} "
        "interleaved rounds",
        **measured,
        "the paper, RTX 3090, HRNet-W48": "72 ms an iteration, 1.1 s for 14",
    }


TABLE_6 = Artefact(
    name="table6",
    title="The time of a test-time step",
    says="0.072 s an iteration and 1.1 s for 14 on an RTX 3090 with HRNet-W48; regressors of "
    "others take 0.04 to 0.07 s for a person.",
    comparable="The ratio of this project's step to the paper's formulation, both measured here, "
    "on one person; milliseconds are of another machine than the paper's.",
    extra_files=_latency,
)
