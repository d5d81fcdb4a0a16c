"""A made-up report and made-up errors."""

import json
from pathlib import Path

import numpy as np

from dualhmr.plain_data import from_plain
from dualhmr_benchmarks.claims.experiments.evaluations import SeedErrors
from dualhmr_benchmarks.claims.reports.report import ClaimReport, MeasuredRow
from dualhmr_benchmarks.claims.reports.statistics import PairedDifference, SeedMeans

REPORT = ClaimReport(
    name="table5",
    title="what training gives",
    says="training with test-time steps helps.",
    comparable="Signs of differences compare, errors do not.",
    facts={"budget": "tiny", "seeds": "1, 2"},
    lines=(
        MeasuredRow(
            "full",
            {"pa_mpjpe_mm": SeedMeans((50.0, 52.0)), "true_2d_loss": SeedMeans((0.001, 0.001))},
            {"pa_mpjpe_mm": 37.1},
        ),
        MeasuredRow("plain|old", {"pa_mpjpe_mm": SeedMeans((55.0,))}, {}),
        MeasuredRow("rate of 1", {}, {"pa_mpjpe_mm": 40.0}, note="step 3:\nthe loss was NaN"),
    ),
    differences=(
        PairedDifference("full - plain", "pa_mpjpe_mm", -4.0, -5.5, -2.5, (-5.0, -3.0), -2.9),
        PairedDifference("full - plain", "true_2d_loss", 0.0, -1e-5, 1e-5, (1e-5, -1e-5), 2e-4),
        PairedDifference("more steps", "pa_mpjpe_mm", 0.25, 0.125, 0.375, (0.25, 0.25), None),
    ),
    trainings=(
        {"recipe": "full", "seed": "1", "commit": "abc"},
        {"recipe": "plain", "seed": "1", "folder": "runs/b"},
    ),
)


def outcomes(factor: float, *, seeds: int = 2, people: int = 5, steps: int = 3) -> list[SeedErrors]:
    """Errors of two joints that fall by `factor` with every step."""
    rng = np.random.default_rng(1)
    after = np.arange(steps + 1.0)
    made = []
    for _ in range(seeds):
        joints = rng.gamma(4, 20, (people, 1, 2)) * factor ** after[:, None]
        mean = joints.mean(2)
        measures = {"mpjpe_mm": mean, "pa_mpjpe_mm": 0.7 * mean, "objective": 5 * mean}
        made.append(SeedErrors(after, measures, joints, 0.7 * joints))
    return made


def written_report(folder: Path) -> ClaimReport:
    """What `write_claim_report` wrote."""
    return from_plain(ClaimReport, json.loads((folder / "table.json").read_text("utf-8")))
