from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dualhmr.keypoints import SPIN_24
from dualhmr_training.data.licensed_sets import DATASETS
from dualhmr_training.evaluation.protocols import (
    EVALUATION_PROTOCOLS,
    HUMAN36M_17,
    annotated_joints,
    load_human36m_regressor,
)

MESH, MPI = EVALUATION_PROTOCOLS["human36m"], EVALUATION_PROTOCOLS["mpi_inf_3dhp"]


def test_the_picks_are_the_stated_ones() -> None:
    seventeen = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9)
    assert EVALUATION_PROTOCOLS["threedpw"].counted == MESH.counted == seventeen[:14]
    assert MPI.counted == seventeen
    assert set(EVALUATION_PROTOCOLS) == {
        name for name, spec in DATASETS.items() if "test" in spec.annotation_files
    }


def test_annotated_and_regressed_joints_are_the_same_points() -> None:
    assert MPI.annotated is not None
    annotated = [SPIN_24.names[row] for row in MPI.annotated]
    regressed = list(MPI.names)
    suffixes = {"left_hip_lsp": "left_hip", "right_hip_lsp": "right_hip", "neck_lsp": "neck",
                "head_h36m": "head", "pelvis_mpii": "pelvis", "spine_h36m": "spine",
                "jaw_h36m": "jaw"}  # fmt: skip
    assert [suffixes.get(name, name) for name in annotated] == regressed
    assert SPIN_24.names[MPI.annotated_root] == "pelvis_mpii"
    assert HUMAN36M_17[0] == "pelvis"


def test_annotated_joints_are_centred_and_picked() -> None:
    joints_3d = torch.arange(2 * 24 * 3).reshape(2, 24, 3).float()
    joints = annotated_joints(joints_3d, MPI)
    assert joints.shape == (2, 17, 3)
    assert joints[0, :, 0].tolist() == [3 * (row - 14) for row in (*range(13), 18, 14, 16, 17)]
    torch.testing.assert_close(annotated_joints(joints_3d + 7, MPI), joints)
    with pytest.raises(ValueError, match="takes the truth from the mesh"):
        annotated_joints(joints_3d, MESH)


def test_the_regressor_is_read(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((17, 30))
    np.save(tmp_path / "J_regressor_h36m.npy", rows)
    regressor = load_human36m_regressor(tmp_path / "J_regressor_h36m.npy")
    assert regressor.dtype == torch.float32
    np.testing.assert_allclose(regressor, rows, rtol=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((16, 30)), r"\(16, 30\) numbers, expected 17 rows"),
        (np.full((17, 30), np.nan), "not finite in single precision"),
        (np.ones(17), "expected one array of real numbers"),
        (np.ones((17, 30), dtype=np.complex64), "expected one array of real numbers"),
        (np.array([{}], dtype=object), "damaged, cut short or not a plain array"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, array: NDArray[Any], message: str) -> None:
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(ValueError, match=message) as caught:
        load_human36m_regressor(tmp_path / "rows.npy")
    assert "rows.npy" in str(caught.value)


@pytest.mark.parametrize("keep", [0, 5, 200])
def test_a_damaged_regressor_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((17, 30)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"rows\.npy"):
        load_human36m_regressor(path)


def test_a_missing_regressor_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"J_regressor.npy; .* github.com/nkolot/SPIN"):
        load_human36m_regressor(tmp_path / "J_regressor.npy")
