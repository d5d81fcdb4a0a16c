"""Named 2D keypoint sets: which physical keypoint each row of a detector's array is.

A physical keypoint has the same name in every set, so two sets are aligned by name. Left and right
are the person's own.

Sources: COCO 2017, OpenPose's output documentation (BODY_25), Halpe-FullBody's first 26, and
COCO-WholeBody, whose face points are the 68 of iBUG 300-W.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dualhmr.arguments import shown


@dataclass(frozen=True)
class KeypointSet:
    """An ordered list of keypoint names; `names[k]` is the keypoint in row k.

    A list of names becomes a tuple. Raises TypeError for what is not text, ValueError if there are
    no names, or a name occurs twice.
    """

    name: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.names, list | tuple):
            raise TypeError(f"names of a keypoint set are {shown(self.names)}, expected a tuple")
        object.__setattr__(self, "names", tuple(self.names))
        for name in (self.name, *self.names):
            if not isinstance(name, str):
                raise TypeError(f"a name of or in a keypoint set is {shown(name)}, expected text")
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"keypoint set {shown(self.name)} needs names, each of them once")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the row of a keypoint. Raises ValueError if the set lacks it."""
        if name not in self.names:
            raise ValueError(
                f"keypoint set {self.name!r} has no {name!r}; it has {', '.join(self.names)}"
            )
        return self.names.index(name)

    def flip_permutation(self) -> tuple[int, ...]:
        """Return the rows to take after mirroring an image: `mirrored[:, permutation]`.

        The permutation is its own inverse. Raises ValueError if a keypoint's mirror is missing.
        """
        return tuple(self.index(mirrored_name(name)) for name in self.names)


# The mirror of each face point of iBUG 300-W: jaw, brows, nose ridge, nostrils, eyes, outer and
# inner lip.
_FACE_MIRROR = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)


def mirrored_name(name: str) -> str:
    """The keypoint that takes a keypoint's place in a mirrored image; the same for middle ones."""
    side, _, rest = name.partition("_")
    if side == "face" and rest.isdecimal() and int(rest) < len(_FACE_MIRROR):
        return f"face_{_FACE_MIRROR[int(rest)]}"
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def _names(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_COCO_NAMES = _names(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow"
    " left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_FOOT_NAMES = _names(
    "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"
)

COCO_17 = KeypointSet("coco_17", _COCO_NAMES)

# What the default network reads: the body and foot part of COCO-WholeBody.
BODY_23 = KeypointSet("body_23", _COCO_NAMES + _FOOT_NAMES)

BODY_25 = KeypointSet(
    "body_25",
    _names(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist"
        " mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle"
        " right_eye left_eye right_ear left_ear"
    )
    + _FOOT_NAMES,
)

HALPE_26 = KeypointSet(
    "halpe_26",
    _COCO_NAMES
    + _names(
        "head_top neck mid_hip left_big_toe right_big_toe left_small_toe right_small_toe"
        " left_heel right_heel"
    ),
)

_FACE_AND_HAND_NAMES = (
    tuple(f"face_{i}" for i in range(68))
    + tuple(f"left_hand_{i}" for i in range(21))
    + tuple(f"right_hand_{i}" for i in range(21))
)

COCO_WHOLEBODY_133 = KeypointSet(
    "coco_wholebody_133", _COCO_NAMES + _FOOT_NAMES + _FACE_AND_HAND_NAMES
)

# AlphaPose's models of the whole body.
HALPE_136 = KeypointSet("halpe_136", HALPE_26.names + _FACE_AND_HAND_NAMES)

# The 24 points that SPIN's data set files annotate (joints 25-48 of its 49), for training.
SPIN_24 = KeypointSet(
    "spin_24",
    _names(
        "right_ankle right_knee right_hip_lsp left_hip_lsp left_knee left_ankle right_wrist"
        " right_elbow right_shoulder left_shoulder left_elbow left_wrist neck_lsp head_top"
        " pelvis_mpii thorax_mpii spine_h36m jaw_h36m head_h36m nose left_eye right_eye left_ear"
        " right_ear"
    ),
)

KEYPOINT_SETS: Mapping[str, KeypointSet] = MappingProxyType(
    {
        each.name: each
        for each in (COCO_17, BODY_23, BODY_25, HALPE_26, COCO_WHOLEBODY_133, HALPE_136)
    }
)
"""The sets of detectors, by name. Each has another number of keypoints."""

NAMED_SETS: Mapping[str, KeypointSet] = MappingProxyType({**KEYPOINT_SETS, SPIN_24.name: SPIN_24})
"""All sets that have a name here. `SPIN_24` is never inferred: 24 may be SMPL's joints, too."""


def known_names() -> tuple[str, ...]:
    """The names of all keypoints in `NAMED_SETS`, each once."""
    return tuple(dict.fromkeys(name for each in NAMED_SETS.values() for name in each.names))


def keypoint_set(name_or_set: str | KeypointSet) -> KeypointSet:
    """Return the set of this name. A `KeypointSet`, also one of your own, is returned unchanged.

    Case, hyphens, underscores and spaces in a name do not matter ("COCO-17", "coco17").
    Raises ValueError for an unknown name, TypeError for other types.
    """
    if isinstance(name_or_set, KeypointSet):
        return name_or_set
    if not isinstance(name_or_set, str):
        raise TypeError(
            f"a keypoint set is given as a name or a KeypointSet, not {type(name_or_set).__name__}"
        )
    for known_set in NAMED_SETS.values():
        if _plain(known_set.name) == _plain(name_or_set):
            return known_set
    raise ValueError(
        f"unknown keypoint set {shown(name_or_set)}; known sets are {', '.join(NAMED_SETS)}"
    )


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character not in "-_ ")


def keypoint_set_for_count(count: int) -> KeypointSet:
    """Return the only known set with `count` keypoints. Raises ValueError if there is none."""
    for known_set in KEYPOINT_SETS.values():
        if len(known_set) == count:
            return known_set
    counts = ", ".join(f"{len(each)} ({each.name})" for each in KEYPOINT_SETS.values())
    raise ValueError(
        f"no known keypoint set has {count} keypoints; known counts are {counts}. "
        "Pass keypoint_set to say which keypoints these are"
    )


SPIN_49 = "spin_49"
"""The 49 keypoints of the licensed data sets: 25 that OpenPose detected, then `SPIN_24`."""


@dataclass(frozen=True)
class NetworkKeypoints:
    """The 2D keypoints that a network reads, or that its 2D loss in training was over."""

    set: KeypointSet
    count: int
    """The loss is a mean over this many keypoints, including those that are always missing."""


def network_keypoints(name: str) -> NetworkKeypoints:
    """The keypoints by their name in manifests and training configurations.

    Of `SPIN_49` the annotated 24 are the set: the others are the same points from a detector.
    Raises ValueError for an unknown name.
    """
    if name == SPIN_49:
        return NetworkKeypoints(SPIN_24, 49)
    if name not in KEYPOINT_SETS:
        known = ", ".join((*KEYPOINT_SETS, SPIN_49))
        raise ValueError(f"unknown keypoints {name!r} for networks; known are {known}")
    named = keypoint_set(name)
    return NetworkKeypoints(named, len(named))
