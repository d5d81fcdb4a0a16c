"""Table 6: the time of a test-time step, from the latency benchmark."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from dualhmr.files import atomic_path
from dualhmr_benchmarks.accuracy.claims.artefact import Artefact
from dualhmr_benchmarks.accuracy.experiments.setting import Setting
from dualhmr_benchmarks.latency import measure
from dualhmr_benchmarks.plot import write_plot
from dualhmr_benchmarks.report import tables, write_json


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
        path.write_text(tables(report) + "\n", encoding="utf-8")
    write_json(report, out / "latency.json")
    write_plot(report, out / "latency.png")
    measured = {
        f"{each.networks}, {each.way}": (
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
    rows=(),
    contrasts=(),
    also=_latency,
)
