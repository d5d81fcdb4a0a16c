"""Fixtures for all tests."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

_PACKAGES = ("dualhmr", "dualhmr_training", "dualhmr_export", "dualhmr_benchmarks")
_LONGEST = (
    "export/test_adaptation_graph.py",
    "export/test_adaptation_graph_bundles.py",
    "export/test_command_export.py",
    "export/test_release_bundles.py",
    "benchmarks/claims/test_reproduce.py",
    "networks/test_hrnet.py",
    "docs/test_code_blocks.py",
    "test_notebooks.py",
    "benchmarks/test_bench.py",
    "export/test_goldens.py",
    "export/test_write_bundle.py",
    "engines/test_shared_backbone.py",
    "person_fitting/test_compiled_fitter.py",
    "export/checkpoints/test_releases.py",
    "engines/test_choosing_backends.py",
    "networks/test_landmark_trunk.py",
    "export/test_verify.py",
    "export/test_int8.py",
)
"""Files that take longer than 10 s of one core, in order."""
_SHARED = Path(__file__).parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    """More inputs for the tests of tests/fuzz than in CI."""
    parser.addoption("--fuzz-count", type=int, metavar="N", help="inputs for each fuzz test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: one at the end keeps one of two processes waiting for the other."""
    places = {f"tests/{name}": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """Collections of garbage pass over what the imports of all tests have made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def fuzz_count(pytestconfig: pytest.Config) -> int | None:
    """How many inputs a fuzz test tries; None: as many as it takes about 10 s for."""
    count: int | None = pytestconfig.getoption("--fuzz-count")
    return count


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Facts about public releases that are kept beside the repository, not in it."""
    if not _SHARED.is_dir():
        pytest.skip(f"needs the folder {_SHARED}, which lies beside the repository")
    return _SHARED


@pytest.fixture(scope="module", autouse=True)
def freed_memory_returned(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each file, returns freed memory to the system.

    glibc keeps most of what a network's weights took: without this, a worker that ran all files
    holds a gigabyte of free memory. Exported programs are reference cycles, so they are collected
    first.
    """
    yield
    _forget_cached(request.module)
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _forget_cached(done: ModuleType) -> None:
    """Empties caches: bodies, networks and recoverers of the file, of helpers and the packages."""
    roots = ("helpers", *_PACKAGES)
    shared = [module for name, module in sys.modules.items() if name.partition(".")[0] in roots]
    for module in (done, *shared):
        for value in list(vars(module).values()):
            if callable(clear := getattr(value, "cache_clear", None)):
                clear()
