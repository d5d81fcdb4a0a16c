from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from helpers.fake_bodies import SMPL_PARENTS, random_body
from torch import Tensor

from dualhmr.body.arrays import JOINT_COUNT, JOINT_NAMES
from dualhmr.body.model import Body, skin


def test_joints_are_named_once_each() -> None:
    assert len(JOINT_NAMES) == len(set(JOINT_NAMES)) == JOINT_COUNT
    # Left before right, as in SMPL.
    for left, name in enumerate(JOINT_NAMES):
        if name.startswith("left_"):
            assert JOINT_NAMES[left + 1] == name.replace("left", "right")


def test_counts() -> None:
    body = random_body(vertices=17, betas=4)
    assert (body.vertex_count, body.beta_count) == (17, 4)
    assert body.joint_template.shape == (24, 3)
    assert body.joint_directions.shape == (24, 3, 4)


def test_a_body_in_another_precision() -> None:
    body = random_body()
    single = body.to(dtype=torch.float32)
    for field in fields(Body):
        value = getattr(single, field.name)
        if isinstance(value, Tensor):
            assert value.dtype == (torch.int64 if field.name == "faces" else torch.float32)
        else:
            assert value == getattr(body, field.name)
    assert single.joint_template.dtype == torch.float32
    betas = torch.zeros(1, 10)
    rotations = torch.eye(3).expand(1, 24, 3, 3)
    torch.testing.assert_close(skin(single, rotations, betas).vertices[0], single.v_template)
    # The original is what it was.
    assert body.v_template.dtype == torch.float64


def test_bodies_can_be_compared_and_used_as_keys() -> None:
    body, same = random_body(), random_body()
    assert body == body
    assert body != same
    assert len({body, same}) == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"v_template": torch.zeros(60, 2)}, r"v_template has shape \(60, 2\), expected \(60, 3\)"),
    ({"shapedirs": torch.zeros(59, 3, 10)}, r"shapedirs has shape \(59, 3, 10\)"),
    ({"posedirs": torch.zeros(60, 3, 206)}, r"posedirs has .*, expected \(60, 3, 207\)"),
    ({"joint_regressor": torch.zeros(60, 24)}, r"joint_regressor has .*, expected \(24, 60\)"),
    ({"weights": torch.zeros(60, 25)}, r"weights has .*, expected \(60, 24\)"),
    ({"weights": torch.full((60, 24), torch.nan)}, "weights holds NaN or infinite numbers"),
    ({"faces": torch.zeros(5, 4, dtype=torch.int64)}, r"faces has shape \(5, 4\)"),
    ({"faces": torch.tensor([[0, 1, 60]])}, "faces name vertices 0 to 60, the body has 0 to 59"),
    ({"faces": torch.tensor([[0, -1, 5]])}, "faces name vertices -1 to 5"),
    ({"parents": SMPL_PARENTS[:-1]}, "not a tree of 24 joints"),
    ({"parents": (0, *SMPL_PARENTS[1:])}, "not a tree of 24 joints"),
    ({"parents": (-1, *SMPL_PARENTS[1:-1], 23)}, "not a tree of 24 joints"),
    ({"parents": (-1, -1, *SMPL_PARENTS[2:])}, "not a tree of 24 joints"),
    (
        {"keypoint_names": ("nose",), "keypoint_regressor": torch.zeros(2, 60)},
        r"keypoint_regressor has shape \(2, 60\), expected \(1, 60\)",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_arrays_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"body 'random': .*{message}"):
        replace(random_body(), **change)


def test_a_body_without_faces_is_one() -> None:
    replace(random_body(), faces=torch.zeros(0, 3, dtype=torch.int64))
