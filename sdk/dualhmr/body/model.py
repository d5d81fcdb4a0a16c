"""A body: the arrays of SMPL's formulation, checked and ready for computing."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

JOINT_COUNT = 24
POSE_FEATURE_COUNT = (JOINT_COUNT - 1) * 9

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""SMPL's 24 joints, in SMPL's order."""


@dataclass(frozen=True, eq=False)
class Body:
    """SMPL's 24 joints, V vertices and F triangles. Metres; x left, y up, z front.

    Build it with `load_body`, which reads and checks files.
    """

    name: str
    v_template: Tensor
    """(V, 3) the body at rest, with arms out."""
    shapedirs: Tensor
    """(V, 3, B) displacement for each beta."""
    posedirs: Tensor
    """(V, 3, 207) displacement for each number of the 23 rotation matrices minus identity."""
    joint_regressor: Tensor
    """(24, V) the rest joints from the rest vertices."""
    weights: Tensor
    """(V, 24) skinning weights."""
    faces: Tensor
    """(F, 3) int64, counter-clockwise from outside."""
    parents: tuple[int, ...]
    """The parent of each joint, -1 for the root, which is joint 0; parents come before children."""
    keypoint_names: tuple[str, ...] = ()
    """Names of the keypoints that the file itself places on its surface."""
    keypoint_regressor: Tensor | None = None
    """(len(keypoint_names), V), or None: the keypoints from the posed vertices."""

    def __post_init__(self) -> None:
        vertices = self.v_template.shape[0]
        betas = self.shapedirs.shape[-1]
        expected = {
            "v_template": (vertices, 3),
            "shapedirs": (vertices, 3, betas),
            "posedirs": (vertices, 3, POSE_FEATURE_COUNT),
            "joint_regressor": (JOINT_COUNT, vertices),
            "weights": (vertices, JOINT_COUNT),
            "faces": (self.faces.shape[0], 3),
        }
        if self.keypoint_regressor is not None:
            expected["keypoint_regressor"] = (len(self.keypoint_names), vertices)
        for field, shape in expected.items():
            value: Tensor = getattr(self, field)
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"body {self.name!r}: {field} has shape {tuple(value.shape)}, expected {shape}"
                )
            if not torch.isfinite(value).all():
                raise ValueError(f"body {self.name!r}: {field} holds NaN or infinite numbers")
        self._check_indices()

    def _check_indices(self) -> None:
        if self.faces.numel() and not 0 <= self.faces.min() <= self.faces.max() < self.vertex_count:
            raise ValueError(
                f"body {self.name!r}: faces name vertices {int(self.faces.min())} to "
                f"{int(self.faces.max())}, the body has 0 to {self.vertex_count - 1}"
            )
        ordered = all(0 <= parent < joint for joint, parent in enumerate(self.parents) if joint)
        if len(self.parents) != JOINT_COUNT or self.parents[0] != -1 or not ordered:
            raise ValueError(
                f"body {self.name!r}: the kinematic tree {self.parents} is not a tree of "
                f"{JOINT_COUNT} joints with root 0 and parents before children"
            )

    @property
    def vertex_count(self) -> int:
        """V."""
        return self.v_template.shape[0]

    @property
    def beta_count(self) -> int:
        """B."""
        return self.shapedirs.shape[-1]

    @cached_property
    def joint_template(self) -> Tensor:
        """(24, 3) rest joints of the mean shape."""
        return self.joint_regressor @ self.v_template

    @cached_property
    def joint_directions(self) -> Tensor:
        """(24, 3, B) displacement of the rest joints for each beta."""
        return torch.einsum("jv,vcb->jcb", self.joint_regressor, self.shapedirs)

    @cached_property
    def blend_shapes(self) -> Tensor:
        """(1 + B + 207, 3, V) the rest vertices for each of `Pose.blend`: template, betas, pose."""
        shapes = torch.cat([self.v_template[..., None], self.shapedirs, self.posedirs], dim=-1)
        return shapes.permute(2, 1, 0).contiguous()

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "Body":
        """The same body with its tensors on `device`, its real ones in `dtype`."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                moved[field.name] = value.to(
                    device=device, dtype=dtype if value.is_floating_point() else None
                )
        return replace(self, **moved)
