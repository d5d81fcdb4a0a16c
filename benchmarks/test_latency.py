"""Latency of all methods: `python -m pytest benchmarks --benchmark-enable`.

`dualhmr bench` prints the same methods side by side, interleaved, with ratios.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dualhmr_benchmarks.latency.methods import METHODS, PAPER, Method, check_agreement, methods
from dualhmr_benchmarks.latency.networks import NETWORKS, example_problem, networks

STEPS = 14
PAPER_STEPS = 1


@pytest.fixture(scope="session", params=NETWORKS)
def timed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Method]:
    """Methods on one pair of networks, checked to agree."""
    folder: Path = tmp_path_factory.mktemp("networks")
    timed = methods(example_problem(networks(request.param, folder), device="cpu"))
    check_agreement({name: take for name, take in timed.items() if name != PAPER}, STEPS)
    return timed


@pytest.mark.parametrize("method", METHODS)
def test_steps(timed: Mapping[str, Method], method: str, benchmark: BenchmarkFixture) -> None:
    """All steps of one person; one of the paper's formulation, as each takes a second."""
    if method not in timed:
        pytest.skip("does not run on this machine")
    steps = PAPER_STEPS if method == PAPER else STEPS
    benchmark.extra_info["steps"] = steps
    benchmark.pedantic(timed[method], args=(steps,), rounds=5, warmup_rounds=1)
