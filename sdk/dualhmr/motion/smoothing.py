"""Smoothing a motion: frames that failed, one shape, and the one-euro filter.

Rotations are filtered in SO(3), each joint by itself. Of the place, what the camera sees well, the
direction to the pelvis, and what it hardly sees, the distance, are filtered by themselves: the body
stays where it is in the picture.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dualhmr.body.arrays import FloatArray
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion.motion import Motion
from dualhmr.motion.one_euro import OneEuroFilter, OneEuroOptions, difference, filtered

Array = npt.NDArray[np.float64]


_ROTATIONS = OneEuroOptions(1.5, speed_factor=32.0, noise_speed=1.0, speed_cutoff_hz=3.0)
_DIRECTION = OneEuroOptions(3.0, speed_factor=2.0, noise_speed=0.7)
_DISTANCE = OneEuroOptions(1.2, speed_factor=0.5, noise_speed=1.5)


@dataclass(frozen=True)
class SmoothingOptions:
    """The defaults were chosen on made walks and claps with the errors of single photographs.

    Speeds are radians a second, and metres a second.
    """

    rotations: OneEuroOptions = _ROTATIONS
    direction: OneEuroOptions = _DIRECTION
    """From the camera to the pelvis; metres are those at the person's distance."""
    distance: OneEuroOptions = _DISTANCE
    """From the camera to the pelvis."""
    outliers: bool = True
    """Whether frames that jump away and back are replaced, before the filter."""
    outlier_rad: float = 0.3
    """How far a rotation that jumps is from the middle of its neighbours, at least."""
    outlier_m: float = 0.1
    """Likewise of the pelvis."""


DEFAULT_SMOOTHING = SmoothingOptions()
LIVE_SMOOTHING = SmoothingOptions(
    rotations=OneEuroOptions(4.0, speed_factor=64.0, noise_speed=1.0, speed_cutoff_hz=6.0),
    direction=OneEuroOptions(6.0, speed_factor=4.0, noise_speed=0.7),
    distance=OneEuroOptions(2.5, speed_factor=2.0, noise_speed=1.0),
    outliers=False,
)
"""Less steady, so that it is not late."""


def smooth(motion: Motion, options: SmoothingOptions = DEFAULT_SMOOTHING) -> Motion:
    """The motion with one shape and without the errors that change from frame to frame.

    The filter runs from the start to the end and back, so that nothing is late. A live camera
    needs `LiveSmoother`.
    """
    one = motion.with_one_shape()
    rotations = one.rotations.astype(np.float64)
    pelvis = one.joints[:, 0].astype(np.float64)
    if options.outliers:
        rotations = _without_jumps(rotations, options.outlier_rad)
        pelvis = _without_jumps(pelvis[:, None], options.outlier_m)[:, 0]
    scale = float(np.median(pelvis[:, 2]))
    direction, distance = _rays(pelvis, scale)
    direction = filtered(direction[:, None], one.times, options.direction)[:, 0]
    distance = filtered(distance[:, None], one.times, options.distance)[:, 0]
    pelvis = _from_rays(direction, distance, scale)
    rotations = filtered(rotations, one.times, options.rotations, rotations=True)
    return one.changed(rotations=rotations, translation=pelvis - one.rest_joints[0])


class LiveSmoother:
    """Smooths frame by frame, as a live camera needs it. It cannot tell outliers from movements."""

    def __init__(self, options: SmoothingOptions = LIVE_SMOOTHING) -> None:
        """Of one person; a track that was lost needs a new one."""
        self._rotations = OneEuroFilter(options.rotations, rotations=True)
        self._direction = OneEuroFilter(options.direction)
        self._distance = OneEuroFilter(options.distance)
        self._betas: deque[FloatArray] = deque(maxlen=_SHAPES)
        self._scale: float | None = None
        self._time = 0.0

    def __call__(self, frame: Motion) -> Motion:
        """A motion of one frame, later than the one before, smoothed.

        Its shape is the median of the last 100 frames'. Raises ValueError for several frames, or
        one that is not later.
        """
        time = float(frame.times[0])
        passed = time - self._time
        if len(frame) != 1 or (self._scale is not None and passed <= 0):
            raise ValueError(f"expected one frame later than {self._time:.3f} s, got {frame}")
        self._time = time
        self._betas.append(frame.each_betas[0])
        one = frame.with_shape(np.median(self._betas, axis=0))
        pelvis = one.joints[:, 0].astype(np.float64)
        if self._scale is None:
            self._scale = float(pelvis[0, 2])
        direction, distance = _rays(pelvis, self._scale)
        direction, distance = self._direction(direction, passed), self._distance(distance, passed)
        pelvis = _from_rays(direction, distance, self._scale)
        rotations = self._rotations(one.rotations[0], passed)
        return one.changed(rotations=rotations[None], translation=pelvis - one.rest_joints[0])


_SHAPES = 100
_NEAREST_M = 0.05
_NEIGHBOURS = 3
_OVER_USUAL = 3.0


def _rays(pelvis: Array, scale: float) -> tuple[Array, Array]:
    """(T, 3) -> direction (T, 2) and distance (T, 1), in metres near the distance `scale`.

    Where one is too near for a picture, at the camera or behind it, the distance is the nearest.
    """
    depth = np.maximum(pelvis[:, 2:], _NEAREST_M)
    scale = max(scale, _NEAREST_M)
    return scale * pelvis[:, :2] / depth, scale * np.log(depth)


def _from_rays(direction: Array, distance: Array, scale: float) -> Array:
    scale = max(scale, _NEAREST_M)
    depth = np.exp(distance / scale)
    return np.concatenate([direction / scale * depth, depth], axis=1)


def _without_jumps(values: Array, least: float) -> Array:
    """(T, N, 3, 3) rotations or (T, N, D), interpolated in frames that jump away and back.

    A frame is replaced where it is farther than `least` from most of the three frames before and
    after, and three times as far as is usual among them: all frames of a quick movement are far
    from each other.
    """
    frames, rotations = len(values), values.ndim == 4
    far = np.full((2 * _NEIGHBOURS, *values.shape[:2]), np.nan)
    for offset in range(1, min(_NEIGHBOURS, frames - 1) + 1):
        steps = difference(values[:-offset], values[offset:], rotations=rotations)
        far[offset - 1, offset:] = far[-offset, :-offset] = np.linalg.norm(steps, axis=-1)
    if frames <= 2 * _NEIGHBOURS:
        return values
    typical = np.nanmedian(far, axis=0)
    padded = np.pad(typical, ((_NEIGHBOURS, _NEIGHBOURS), (0, 0)), mode="reflect")
    usual = np.median([padded[k : k + frames] for k in range(2 * _NEIGHBOURS + 1)], axis=0)
    jumps = typical > np.maximum(least, _OVER_USUAL * usual)
    fixed = values.copy()
    for row in np.flatnonzero(jumps.any(0)):
        fixed[:, row] = _interpolated(values[:, row], ~jumps[:, row])
    return fixed


def _interpolated(values: Array, good: npt.NDArray[np.bool_]) -> Array:
    """(T, 3, 3) or (T, D), between the nearest good frames; before the first, as the first."""
    known, frames = np.flatnonzero(good), np.arange(len(values))
    place = np.interp(frames, known, np.arange(len(known)))
    before = known[np.floor(place).astype(int)]
    after = known[np.ceil(place).astype(int)]
    share = place - np.floor(place)
    first, last = values[before], values[after]
    turn = difference(first, last, rotations=values.ndim == 3) * share[:, None]
    return first @ rotvec_to_matrix(turn) if values.ndim == 3 else first + turn
