"""A body model as checked arrays, in NumPy or in PyTorch, and the names of its points."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ArrayT = TypeVar("ArrayT", bound=Any)

JOINT_COUNT = 24
POSE_FEATURE_COUNT = (JOINT_COUNT - 1) * 9

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""SMPL's 24 joints, in SMPL's order."""


# Vertex ids on SMPL's topology, the table that smplx publishes.
SMPL_KEYPOINT_VERTICES = {
    "nose": 332, "left_eye": 2800, "right_eye": 6260, "left_ear": 583, "right_ear": 4071,
    "left_big_toe": 3216, "left_small_toe": 3226, "left_heel": 3387,
    "right_big_toe": 6617, "right_small_toe": 6624, "right_heel": 6787,
}  # fmt: skip
SMPL_KEYPOINT_JOINTS = {
    **{f"{side}_{part}": f"{side}_{part}" for side in ("left", "right")
       for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
    "neck": "neck", "mid_hip": "pelvis",
}  # fmt: skip
EXTRA_JOINT_NAMES = (
    "right_hip_lsp", "left_hip_lsp", "neck_lsp", "head_top", "pelvis_mpii", "thorax_mpii",
    "spine_h36m", "jaw_h36m", "head_h36m",
)  # fmt: skip
"""The rows of SPIN's `J_regressor_extra.npy`: joints that data sets annotate and SMPL lacks."""
KEYPOINT_MIDPOINTS = {
    "neck": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"),
}


@dataclass(frozen=True, eq=False)
class BodyParts(Generic[ArrayT]):
    """SMPL's 24 joints, V vertices and F triangles. Metres; x left, y up, z front.

    `BodyArrays` holds NumPy arrays, `dualhmr.body.model.Body` tensors. Raises ValueError for
    shapes, indices or kinematic trees that do not fit together, and for NaN or infinite numbers.
    """

    name: str
    v_template: ArrayT
    """(V, 3) vertices in the rest pose, with arms out."""
    shapedirs: ArrayT
    """(V, 3, B) displacement for each beta."""
    posedirs: ArrayT
    """(V, 3, 207) displacement for each entry of the 23 rotation matrices minus identity."""
    joint_regressor: ArrayT
    """(24, V) rest vertices -> rest joints."""
    weights: ArrayT
    """(V, 24) skinning weights."""
    faces: ArrayT
    """(F, 3) int64, counter-clockwise from outside."""
    parents: tuple[int, ...]
    """The parent of each joint. Joint 0 is the root, with parent -1; parents precede children."""
    keypoint_names: tuple[str, ...] = ()
    """Names of the keypoints that the body file places on the surface."""
    keypoint_regressor: ArrayT | None = None
    """(len(keypoint_names), V) posed vertices -> keypoints, or None."""
    extra_joints: ArrayT | None = None
    """(9, V) posed vertices -> the joints of `EXTRA_JOINT_NAMES`, or None."""

    def __post_init__(self) -> None:
        vertices, betas = self.vertex_count, self.beta_count
        expected = {
            "v_template": (vertices, 3),
            "shapedirs": (vertices, 3, betas),
            "posedirs": (vertices, 3, POSE_FEATURE_COUNT),
            "joint_regressor": (JOINT_COUNT, vertices),
            "weights": (vertices, JOINT_COUNT),
            "faces": (len(self.faces), 3),
        }
        if self.keypoint_regressor is not None:
            expected["keypoint_regressor"] = (len(self.keypoint_names), vertices)
        if self.extra_joints is not None:
            expected["extra_joints"] = (len(EXTRA_JOINT_NAMES), vertices)
        for field, shape in expected.items():
            value = getattr(self, field)
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"body {self.name!r}: {field} has shape {tuple(value.shape)}, expected {shape}"
                )
            # Not isfinite, which NumPy and PyTorch spell as functions: this works for both.
            if not (abs(value) < math.inf).all():
                raise ValueError(f"body {self.name!r}: {field} holds NaN or infinite numbers")
        self._check_indices()

    def _check_indices(self) -> None:
        if len(self.faces) and not 0 <= self.faces.min() <= self.faces.max() < self.vertex_count:
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
        return int(self.v_template.shape[0])

    @property
    def beta_count(self) -> int:
        """B."""
        return int(self.shapedirs.shape[-1])


@dataclass(frozen=True, eq=False)
class BodyArrays(BodyParts[npt.NDArray[Any]]):
    """A body in NumPy: floating-point arrays are float32, faces int64. `read_body` makes one."""

    def same_as(self, other: "BodyArrays") -> bool:
        """Whether all fields are equal."""
        if self is other:
            return True
        pairs = [(value, vars(other)[name]) for name, value in vars(self).items()]
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def body_keypoints(body: BodyArrays) -> frozenset[str]:
    """Names of the 2D keypoints that have a point on the body."""
    extra = () if body.extra_joints is None else EXTRA_JOINT_NAMES
    if body.keypoint_regressor is None:
        return frozenset((*SMPL_KEYPOINT_VERTICES, *SMPL_KEYPOINT_JOINTS, *extra))
    own = frozenset((*body.keypoint_names, *extra))
    return own | {name for name, parts in KEYPOINT_MIDPOINTS.items() if own.issuperset(parts)}


@lru_cache(maxsize=8)
def ancestor_rounds(parents: tuple[int, ...]) -> tuple[list[int], ...]:
    """The ancestor 1, 2, 4, ... steps above each joint; J, one past the last, above the root."""
    above = [parent if parent >= 0 else len(parents) for parent in parents]
    rounds = []
    while any(ancestor < len(parents) for ancestor in above):
        rounds.append(above)
        extended = [*above, len(parents)]
        above = [extended[ancestor] for ancestor in above]
    return tuple(rounds)
