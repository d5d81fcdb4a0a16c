"""Fixtures for all tests."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Facts about public releases that are kept beside the repository, not in it."""
    if not _SHARED.is_dir():
        pytest.skip(f"needs the folder {_SHARED}, which lies beside the repository")
    return _SHARED


@pytest.fixture(scope="module", autouse=True)
def freed_memory_returned() -> Iterator[None]:
    """After each file, returns freed memory to the system.

    glibc keeps most of what a network's weights took: without this, a worker that ran all files
    holds a gigabyte of free memory. Exported programs are reference cycles, so they are collected
    first.
    """
    yield
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
