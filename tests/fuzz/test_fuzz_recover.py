"""Arbitrary arrays and options: a sane recovery, or an error of a documented type.

`pytest tests/fuzz/test_fuzz_recover.py --fuzz-count 10000 -s` tries more inputs than CI does, and
prints the counts.
"""

import pickle
import random
import resource
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from helpers.sanity import insane
from helpers.standing_person import standing_person
from numpy.typing import NDArray
from PIL import Image

from dualhmr import EngineOptions, Recoverer, Recovery
from dualhmr.adaptation.optimisers import Adam
from dualhmr.adaptation.schedule import Phase, Schedule
from dualhmr.body.arrays import body_keypoints
from dualhmr.body.files import read_body
from dualhmr.keypoints import KEYPOINT_SETS, Keypoints, KeypointSet

IN_CI = 700
LONGEST_MESSAGE = 2000
MEMORY_MB = 300
"""Growth of the process's peak over all inputs, after the networks are opened."""

KNOWN = sorted(body_keypoints(read_body()))
REFUSALS = (FileNotFoundError, TypeError, ValueError)
WILD = Schedule("wild", (Phase(Adam(1e3), 4),), tolerance=0.0)
Array = NDArray[Any]


@lru_cache(maxsize=2)
def recoverer(adaptation: str) -> Recoverer:
    return Recoverer(adaptation=adaptation, options=EngineOptions(threads=1))


# Keypoints


def some_set(rng: random.Random) -> KeypointSet:
    """Known, or of the user's own with the names of the body and perhaps a misspelt one."""
    if rng.random() < 0.85:
        return rng.choice(list(KEYPOINT_SETS.values()))
    names = rng.sample(KNOWN, rng.randint(4, len(KNOWN)))
    if rng.random() < 0.2:
        names[0] = rng.choice(("left_wirst", "", "nose\n", "x" * 10_000))
    return KeypointSet(rng.choice(("own", "own", "", "x" * 10_000)), tuple(names))


def person(names: KeypointSet, size: tuple[int, int], rng: random.Random) -> Array:
    """(K, 2): somebody standing, turned, cut off or squeezed, or noise."""
    noise = np.random.default_rng(rng.randrange(2**32))
    if rng.random() < 0.15:
        return noise.uniform(-0.2, 1.2, (len(names), 2)) * size
    height = min(size) * rng.choice((0.9, 0.7, 0.5, 0.3, 0.1, 0.02, 1.5, 3))
    xy = standing_person(names, middle=(0, 0), height=height).astype(np.float64)
    turn = rng.choice((0, 0, 0.3, 1.57, 3.14, rng.uniform(0, 6.3)))
    xy = xy @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    xy *= rng.choice(((1, 1), (1, 1), (0.3, 1), (-1, 1)))
    xy += noise.normal(0, height * rng.choice((0, 0.01, 0.01, 0.03, 0.1)), xy.shape)
    middle = [rng.choice((0.5, 0.5, 0.5, 0.5, 0.4, 0.6, 0.9, 3)) * side for side in size]
    return np.asarray(xy + middle)


def spoil(xy: Array, confidence: Array, rng: random.Random) -> None:
    """Outliers, missing, constant and non-finite points of (P, K, 2) and (P, K), in place."""
    for _ in range(rng.choice((0, 0, 1, 1, 2, 6))):
        if not xy.size:
            return
        index = rng.randrange(xy.shape[0]), rng.randrange(xy.shape[1])
        kind = rng.randrange(7)
        if kind < 3:
            xy[index] += rng.choice((30, 300, 1000, 1e6, 1e25, 1e38)) * rng.choice((1, -1))
        elif kind == 3:
            confidence[index] = 0
        elif kind == 4:
            xy[index] = 0
        elif kind == 5:
            xy[index] = rng.choice((np.nan, np.inf, -np.inf, 1e300, -1.0))
        else:
            confidence[index] = rng.choice((np.nan, -1, 0.29, 0.31, 1.2, 2, 7, 100, 1e300))


def some_keypoints(size: tuple[int, int], rng: random.Random) -> tuple[Any, dict[str, Any]]:
    names = some_set(rng)
    persons = rng.choice((0, 1, 1, 1, 1, 2, 3))
    xy = np.array([person(names, size, rng) for _ in range(persons)]).reshape(-1, len(names), 2)
    confidence = np.ones(xy.shape[:2]) * rng.choice((1, 1, 1, 1, 1, 0.8, 0.8, 2, 2, 5, 90))
    if rng.random() < 0.2:  # some missing, or only fingers and the face
        rows = np.random.default_rng(rng.randrange(99)).random(len(names)) < rng.random()
        confidence[:, rows] = 0
    if rng.random() < 0.4:
        spoil(xy, confidence, rng)
    options: dict[str, Any] = {}
    if names not in KEYPOINT_SETS.values() or rng.random() < 0.2:
        options["keypoint_set"] = names
    kind = rng.randrange(4)
    if kind == 0 and np.isfinite(xy).all() and np.abs(xy).max(initial=0) < 3e38:
        shares = np.nan_to_num(np.clip(confidence, 0, 1)).astype(np.float32)
        return Keypoints(names, xy.astype(np.float32), shares), {}
    if kind == 1:
        options["scores"] = confidence
        return xy, options
    return (np.dstack([xy, confidence[..., None]]) if kind == 2 else xy), options


def masked(values: Array, rng: random.Random) -> Array:
    mask = np.random.default_rng(rng.randrange(99)).random(values.shape) < 0.1
    return np.asanyarray(np.ma.array(values, mask=mask))


CHANGES: tuple[Callable[[Array, random.Random], Any], ...] = (
    lambda values, _: values.astype(np.float16),
    lambda values, _: values.astype(np.float32),
    lambda values, _: np.nan_to_num(values, posinf=0, neginf=0).astype(np.int64),
    lambda values, _: np.clip(np.nan_to_num(values), 0, 60_000).astype(np.uint16),
    lambda values, _: values.astype(">f8"),
    lambda values, _: values.astype(complex),
    lambda values, _: values > 0,
    lambda values, _: values.astype(object),
    lambda values, _: values.astype(str),
    lambda values, _: values.tolist(),
    lambda values, _: list(values),
    lambda values, _: [values, values[:, :1]],
    lambda values, _: values.ravel(),
    lambda values, _: values.T,
    lambda values, _: values[..., :1],
    lambda values, _: values[:, :0],
    lambda values, _: values[None],
    lambda values, _: values[0] if len(values) else values,
    lambda values, _: np.asfortranarray(values)[..., ::-1][..., ::-1],
    lambda values, _: [*values.tolist(), None],
    lambda *_: None,
    lambda *_: {},
    lambda *_: "keypoints.json",
    lambda *_: 7,
    masked,
    lambda values, rng: [masked(each, rng) for each in values],
)


# Photographs and options


def some_photo(rng: random.Random) -> tuple[Any, tuple[int, int]]:
    """An image and its width and height; one in ten is none."""
    width, height = (rng.choice((1, 37, 200, 480, 480, 512, 512, 600, 600)) for _ in "wh")
    pixels = np.random.default_rng(rng.randrange(99)).integers(0, 256, (height, width, 3), np.uint8)
    kind = rng.randrange(24)
    if kind == 0:
        return Image.fromarray(pixels), (width, height)
    if kind == 1:
        return pixels[..., 0], (width, height)
    if kind == 2:
        odd = (pixels / 255, pixels[:0], pixels.T, pixels[..., :2], np.zeros(5, np.uint8), 5, None,
               np.ma.array(pixels, mask=pixels > 9), "absent.jpg", [[[1, 2, 3]]])  # fmt: skip
        return rng.choice(odd), (width, height)
    return pixels, (width, height)


ODD: dict[str, tuple[Any, ...]] = {
    "focal_length": (26, 0, -5, 1e9, np.nan, np.inf, "800", True, [500], 500, 500.0, np.int64(500)),
    "principal_point": ((0, 0), (1e9, 0), (np.nan, 1), "ab", (1, 2, 3), ("a", "b"), 5, (True, 1)),
    "schedule": ("paper", "eft", "release", "trained", "bogus", 3, {}, WILD),
    "score_scale": (6, 6.0, 100, 0, -1, np.nan, "6", True, 1e-30),
    "min_confidence": (0, 0.5, 1, -1, 2, np.nan, "0.3", False, None),
    "keypoint_set": ("coco_17", "COCO-17", "halpe_26", "bogus", 17, ()),
    "max_steps": (0, np.int64(3), True, 2.5, "3", -1, 10**30, None, [1]),
    "scores": (1, np.ones(17), np.ones(3), "high", []),
}


def some_input(seed: int) -> tuple[str, Any, Any, dict[str, Any]]:
    rng = random.Random(seed)
    photo, size = some_photo(rng)
    keypoints, options = some_keypoints(size, rng)
    if isinstance(keypoints, np.ndarray) and rng.random() < 0.15:
        with np.errstate(all="ignore"):
            keypoints = rng.choice(CHANGES)(keypoints, rng)
    options["max_steps"] = rng.choice((0, 1, 1, 1, 2, 3))
    if rng.random() < 0.02:
        options["max_steps"] = None
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 2))):
        name = rng.choice(list(ODD))
        options[name] = rng.choice(ODD[name])
    return rng.choice(("torch", "onnx")), photo, keypoints, options


def use(recovery: Recovery, photo: Any) -> None:
    """All that does not write files."""
    repr(recovery)
    recovery.overlay(photo, keypoints=True)
    again = pickle.loads(pickle.dumps(recovery))
    for row in range(len(again)):
        again.step_strip(photo, row)
        assert insane(again[row]) == insane(recovery[row])


def outcome(seed: int) -> str:
    """What became of one input; raises AssertionError if it is none of what may be."""
    adaptation, photo, keypoints, options = some_input(seed)
    opened = recoverer(adaptation)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            recovery = opened.recover(photo, keypoints, **options)
            problems = insane(recovery)
            if seed % 60 == 0:
                use(recovery, photo)
    except REFUSALS as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # Our own checks raise; what NumPy or Python raise in the middle says nothing to a user.
        if not 10 < len(str(error)) <= LONGEST_MESSAGE or "dualhmr" not in frame.filename:
            raise AssertionError(f"{error!r:.3000} at {frame.filename}:{frame.lineno}") from error
        return type(error).__name__
    except Exception as error:
        where = "".join(traceback.format_tb(error.__traceback__)[-2:])
        raise AssertionError(f"{error!r}\n{where}") from error
    assert not problems, problems
    if not len(recovery):
        return "skipped" if recovery.skipped else "nobody"
    return "warned" if recovery.warnings else "recovered"


def test_recover(fuzz_count: int | None) -> None:
    counts: Counter[str] = Counter()
    failures = []
    for adaptation in ("torch", "onnx"):
        recoverer(adaptation).recover(
            np.zeros((512, 512, 3), np.uint8), standing_person(), max_steps=1
        )
        recoverer(adaptation).detect(np.zeros((512, 512, 3), np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(fuzz_count or IN_CI):
        try:
            counts[outcome(seed)] += 1
        except AssertionError as error:
            failures.append(f"seed {seed}: {error}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    growth = (peak - before) / 1024
    print(f"\n{dict(counts)}; peak memory {peak / 1024:.0f} MB, grew by {growth:.0f} MB")
    assert not failures, f"{len(failures)} failures:\n" + "\n".join(failures[:10])
    assert growth < MEMORY_MB
    assert set(counts) >= {"recovered", "warned", "skipped", "nobody", "TypeError", "ValueError"}
