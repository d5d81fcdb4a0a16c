"""How far apart keypoints of a body can be: lengths of limbs, and of ways along them."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dualhmr.keypoints.sets import mirrored_name

# Largest distances in metres between neighbouring keypoints of the free body with mean shape, over
# its joints' range of motion in captured poses. The right side is like the left.
_LINKS = {
    ("nose", "left_eye"): 0.05,
    ("left_eye", "right_eye"): 0.06,
    ("left_eye", "left_ear"): 0.10,
    ("left_ear", "right_ear"): 0.15,
    ("left_ear", "head_top"): 0.20,
    ("nose", "neck"): 0.29,
    ("left_ear", "left_shoulder"): 0.30,
    ("neck", "left_shoulder"): 0.16,
    ("left_shoulder", "right_shoulder"): 0.33,
    ("left_shoulder", "left_elbow"): 0.28,
    ("left_elbow", "left_wrist"): 0.24,
    ("left_shoulder", "left_hip"): 0.58,
    ("left_shoulder", "right_hip"): 0.61,
    ("neck", "mid_hip"): 0.53,
    ("left_hip", "right_hip"): 0.24,
    ("mid_hip", "left_hip"): 0.12,
    ("left_hip", "left_knee"): 0.40,
    ("left_knee", "left_ankle"): 0.41,
    ("left_ankle", "left_big_toe"): 0.22,
    ("left_ankle", "left_small_toe"): 0.19,
    ("left_ankle", "left_heel"): 0.08,
}

_SHORTEST_LIMB_M = 0.19


@lru_cache(maxsize=32)
def limbs(names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """(K, K) metres between the two ends of one limb, at least 0.19; infinite for other pairs.

    Shorter ones, as those of the face, are shorter than a detector's error.
    """
    links = _links()
    linked = np.array([[(a, b) in links or (b, a) in links for b in names] for a in names])
    return np.where(linked, np.maximum(reach(names), _SHORTEST_LIMB_M), np.inf)


@lru_cache(maxsize=32)
def reach(names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """(K, K) metres: the shortest way along `_LINKS`, infinite where there is none.

    A keypoint without links is in everybody's reach: its bounds of the scale are zero.
    """
    links = _links()
    known = sorted({name for pair in links for name in pair})
    row = {name: number for number, name in enumerate(known)}
    length = np.full((len(known), len(known)), np.inf)
    for (one, other), metres in links.items():
        length[row[one], row[other]] = length[row[other], row[one]] = metres
    for through in range(len(known)):  # Floyd and Warshall
        length = np.minimum(length, length[:, [through]] + length[[through]])
    found = np.full((len(names), len(names)), np.inf)
    there = [number for number, name in enumerate(names) if name in row]
    rows = [row[names[number]] for number in there]
    found[np.ix_(there, there)] = length[np.ix_(rows, rows)]
    return found


def _links() -> dict[tuple[str, str], float]:
    """Those of both sides."""
    return _LINKS | {
        (mirrored_name(one), mirrored_name(other)): metres
        for (one, other), metres in _LINKS.items()
    }
