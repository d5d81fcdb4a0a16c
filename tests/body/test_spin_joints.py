from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fake_bodies import fake_smpl_body

from dualhmr import load_body
from dualhmr.body.arrays import EXTRA_JOINT_NAMES, body_keypoints
from dualhmr.body.files import read_extra_joints, with_extra_joints
from dualhmr.body.model import Body, skin
from dualhmr.body.point_regressors import (
    SPIN_HIPS,
    keypoint_regressor,
    spin_24_regressor,
    spin_49_regressor,
)
from dualhmr.keypoints import BODY_25, HALPE_26, SPIN_24
from dualhmr.rotations import rotvec_to_rotmat

# Where the 49 joints come from, over smplx's 45 joints and 9 extra ones, as SPIN lists them.
SPIN_MAP = (
    24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34,
    8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27,
)  # fmt: skip
# smplx's joints 24 to 34: vertices of the face and feet, in its order.
FACE_AND_FEET = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)


def test_smpl_joints_are_those_of_spin() -> None:
    body = fake_smpl_body()
    extra = torch.rand(9, body.vertex_count, generator=torch.Generator().manual_seed(0))
    extra /= extra.sum(1, keepdim=True)
    rotations = rotvec_to_rotmat(0.3 * torch.randn(2, 24, 3))
    posed = skin(body, rotations, torch.randn(2, body.beta_count))
    vertex_joints = posed.vertices[:, list(FACE_AND_FEET)]
    padding = torch.full((2, 10, 3), torch.nan)  # smplx's fingertips, which SPIN does not use
    every = torch.cat([posed.joints, vertex_joints, padding, extra @ posed.vertices], dim=1)
    expected = every[:, list(SPIN_MAP)]
    body = Body.from_arrays(with_extra_joints(body.arrays(), extra.numpy()))
    found = spin_49_regressor(body).from_mesh(posed.vertices, posed.joints)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_free_body_has_most_of_them_and_its_own_hips() -> None:
    body = load_body()
    regressor = spin_24_regressor(body)
    missing = {
        name
        for name, available in zip(regressor.names, regressor.available, strict=True)
        if not available
    }
    assert missing == set(EXTRA_JOINT_NAMES) - {"right_hip_lsp", "left_hip_lsp"}
    posed = skin(body, torch.eye(3).repeat(1, 24, 1, 1), torch.zeros(1, 10))
    points = regressor.from_mesh(posed.vertices, posed.joints)[0]
    right, left = (points[hip] for hip in SPIN_HIPS)
    assert right[0] < 0 < left[0]
    assert len(spin_49_regressor(body).names) == len(BODY_25) + len(SPIN_24) == 49


def test_extra_joints_are_keypoints_of_any_set_that_names_them() -> None:
    plain = load_body()
    rows = np.zeros((9, plain.vertex_count), np.float32)
    rows[np.arange(9), np.arange(9) * 100] = 1
    body = load_body(extra_joints=rows)
    assert body_keypoints(body.arrays()) - body_keypoints(plain.arrays()) == {*EXTRA_JOINT_NAMES}
    halpe, without = (keypoint_regressor(each, HALPE_26) for each in (body, plain))
    top = HALPE_26.index("head_top")
    assert halpe.vertex_rows[top].nonzero().item() == 100 * EXTRA_JOINT_NAMES.index("head_top")
    assert not without.available[top]
    others = torch.arange(26) != top
    assert torch.equal(halpe.vertex_rows[others], without.vertex_rows[others])
    extra = body.to(dtype=torch.float64).extra_joints
    assert extra is not None
    assert extra.dtype == torch.float64


def test_extra_joints_file(tmp_path: Path) -> None:
    path = tmp_path / "J_regressor_extra.npy"
    with pytest.raises(FileNotFoundError, match="comes with SPIN's data"):
        read_extra_joints(path)
    np.save(path, np.ones((9, 7)))
    assert read_extra_joints(path).dtype == np.float32
    with pytest.raises(ValueError, match=r"extra_joints has shape \(9, 7\), expected \(9, 6872\)"):
        load_body(extra_joints=path)
    np.save(path, np.ones((8, 7)))
    with pytest.raises(ValueError, match=r"float64 \(8, 7\), expected real numbers \(9, V\)"):
        read_extra_joints(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="damaged"):
        read_extra_joints(path)
