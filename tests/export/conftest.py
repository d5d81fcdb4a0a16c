"""Fixtures for tests of exports."""

from pathlib import Path

import pytest
from helpers.fake_bodies import fake_smpl_arrays, write_smpl_npz


@pytest.fixture(scope="module")
def smpl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like SMPL's, of nobody in particular."""
    return write_smpl_npz(tmp_path_factory.mktemp("body") / "smpl.npz", fake_smpl_arrays())
