"""Fixtures for all tests."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Facts about public releases that are kept beside the repository, not in it."""
    if not _SHARED.is_dir():
        pytest.skip(f"needs the folder {_SHARED}, which lies beside the repository")
    return _SHARED
