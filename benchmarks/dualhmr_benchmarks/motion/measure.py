"""Prints what smoothing and locked feet do: `python -m dualhmr_benchmarks.motion.measure`."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import JOINT_NAMES
from dualhmr.files import markdown_table
from dualhmr.motion import LiveSmoother, Motion, foot_contacts, lock_feet, sliding_mm, smooth
from dualhmr_benchmarks.motion.walks import Jitter, Walk, clap, jittered, walk

Array = npt.NDArray[np.float64]
_WRISTS = [JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right")]
_WALKS = (
    Walk(seed=10, speed=0.8, turning=0.25, heading=1.2, start=(-2.0, 4.5)),
    Walk(seed=11, speed=0.9, turning=0.0, heading=0.1, start=(0.3, 9.0)),
    Walk(seed=12, speed=0.7, turning=-0.6, heading=-0.5, stride_s=1.2),
)


def acceleration_error(motion: Motion, true: Motion) -> float:
    """Mean over joints and frames, millimetres a squared frame."""
    difference = np.diff(motion.joints, 2, axis=0) - np.diff(true.joints, 2, axis=0)
    return 1000 * float(np.linalg.norm(difference, axis=-1).mean())


def joint_error(motion: Motion, true: Motion, *, from_pelvis: bool = False) -> float:
    """Mean over joints and frames, millimetres; in the camera's frame or from the pelvis."""
    joints = [m.joints - m.joints[:, :1] if from_pelvis else m.joints for m in (motion, true)]
    return 1000 * float(np.linalg.norm(joints[0] - joints[1], axis=-1).mean())


def wrist_distance(motion: Motion) -> Array:
    """(T,) metres."""
    left, right = (motion.joints[:, wrist].astype(np.float64) for wrist in _WRISTS)
    return np.linalg.norm(left - right, axis=-1)


def live(motion: Motion) -> Motion:
    """Smoothed frame by frame, as a live camera would have it, joined."""
    step = LiveSmoother()
    frames = [step(motion[frame : frame + 1]) for frame in range(len(motion))]
    joined = {
        name: np.concatenate([getattr(f, name) for f in frames])
        for name in ("rotations", "translation")
    }
    return motion.changed(**joined, betas=np.stack([frame.betas for frame in frames]))


def _rows() -> Iterator[tuple[str, ...]]:
    yield ("walks", "acceleration error, mm/frame²", "joints, mm", "joints from the pelvis, mm")
    ways = {"as seen": lambda m: m, "smoothed": smooth, "live": live}
    for errors, jitter in (("with failed frames", Jitter()), ("without", Jitter(outliers=0))):
        for name, way in ways.items():
            measured = []
            for number, options in enumerate(_WALKS):
                true = walk(options)
                got = way(jittered(true, jitter, seed=100 + number))
                measured.append(
                    (
                        acceleration_error(got, true),
                        joint_error(got, true),
                        joint_error(got, true, from_pelvis=True),
                    )
                )
            yield (f"{errors}, {name}", *(f"{value:.1f}" for value in np.mean(measured, axis=0)))


def _claps() -> Iterator[tuple[str, ...]]:
    yield ("claps a second", "smoothed, mm", "smoothed, hands that bounce, mm", "live, mm")
    for hertz in (2.0, 2.5, 3.0):
        errors = []
        for way, sharp in ((smooth, False), (smooth, True), (live, False)):
            hands = clap(hertz=hertz, sharp=sharp)
            errors.append(1000 * np.abs(wrist_distance(way(hands)) - wrist_distance(hands)).max())
        yield (f"{hertz:g}", *(f"{error:.1f}" for error in errors))


def _feet() -> Iterator[tuple[str, ...]]:
    yield (
        *("walk", "contacts found / right", "sliding as seen, smoothed, locked, mm a frame"),
        *("joints smoothed, locked, mm", "joints from the pelvis smoothed, locked, mm"),
    )
    for number, options in enumerate(_WALKS):
        true = walk(options)
        seen = jittered(true, seed=100 + number)
        calm = smooth(seen)
        locked = lock_feet(calm)
        down, found = foot_contacts(true).down, foot_contacts(calm).down
        yield (
            str(number + 1),
            f"{(down & found).sum() / down.sum():.0%} / {(down & found).sum() / found.sum():.0%}",
            ", ".join(
                f"{sliding_mm(motion, foot_contacts(true)):.1f}" for motion in (seen, calm, locked)
            ),
            ", ".join(f"{joint_error(motion, true):.1f}" for motion in (calm, locked)),
            ", ".join(
                f"{joint_error(motion, true, from_pelvis=True):.1f}" for motion in (calm, locked)
            ),
        )


if __name__ == "__main__":
    print(markdown_table(_rows()))
    print()
    print(markdown_table(_claps()))
    print()
    print(markdown_table(_feet()))
