"""Latency of the ways to take test-time steps: `python -m pytest benchmarks --benchmark-enable`.

`dualhmr bench` prints the same ways side by side, interleaved, with ratios.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from dualhmr_benchmarks.latency.methods import METHODS, PAPER, Method, check, methods
from dualhmr_benchmarks.latency.networks import NETWORKS, example_problem, networks

STEPS = 14
PAPER_STEPS = 1


@pytest.fixture(scope="session", params=NETWORKS)
def taking(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Method]:
    """Ways to take steps on one pair of networks, found to agree."""
    folder: Path = tmp_path_factory.mktemp("networks")
    taking = methods(example_problem(networks(request.param, folder), device="cpu"))
    check({way: take for way, take in taking.items() if way != PAPER}, STEPS)
    return taking


@pytest.mark.parametrize("way", METHODS)
def test_steps(taking: Mapping[str, Method], way: str, benchmark: BenchmarkFixture) -> None:
    """All steps of one person; of the paper's formulation one, as each takes a second."""
    if way not in taking:
        pytest.skip("not to be had here")
    steps = PAPER_STEPS if way == PAPER else STEPS
    benchmark.extra_info["steps"] = steps
    benchmark.pedantic(taking[way], args=(steps,), rounds=5, warmup_rounds=1)
