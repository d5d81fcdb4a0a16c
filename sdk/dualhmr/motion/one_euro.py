"""The one-euro filter, for numbers and for rotations (Casiez, Roussel and Vogel, CHI 2012).

A low-pass filter whose cut-off grows with speed: a body at rest does not shake, and a quick one is
not late. Rotations are filtered in the tangent space: the step from the filtered rotation to the
new one is a rotation vector, of which a share is taken.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.motion.quaternions import matrix_to_rotvec

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OneEuroOptions:
    """Raises ValueError for frequencies that are not positive, or other numbers below 0."""

    cutoff_hz: float
    """At rest. Lower: steadier and later."""
    speed_factor: float
    """Hz that are added for each unit of speed, radians or metres a second."""
    noise_speed: float = 0.0
    """Speed up to which nothing is added: that of the noise."""
    speed_cutoff_hz: float = 4.0
    """Of the low-pass filter of the speed itself."""

    def __post_init__(self) -> None:
        if not (self.cutoff_hz > 0 and self.speed_cutoff_hz > 0):
            raise ValueError(f"expected frequencies above 0, got {self}")
        if not (self.speed_factor >= 0 and self.noise_speed >= 0):
            raise ValueError(f"expected a factor and a speed of at least 0, got {self}")


class OneEuroFilter:
    """Of N points or rotations over time, each by itself. Causal: it can follow a live camera.

    The speed is that of the value's length of step, not of its direction: hands that clap are quick
    on average, also when they turn round.
    """

    def __init__(
        self, options: OneEuroOptions, *, rotations: bool = False, speed: Array | None = None
    ) -> None:
        """Values are (N, D), or (N, 3, 3) `rotations`. `speed` (N, 1) is that at the start."""
        self._options, self._rotations = options, rotations
        self._value: Array | None = None
        self.speed = speed
        """(N, 1), filtered."""

    def __call__(self, value: npt.ArrayLike, seconds: float) -> Array:
        """The filtered value, `seconds` after the one before; the first one is as it came."""
        new = np.asarray(value, np.float64)
        if self._value is None:
            self._value = new
            return new
        options = self._options
        step = difference(self._value, new, rotations=self._rotations)
        speed = np.linalg.norm(step, axis=-1, keepdims=True) / seconds
        old = np.zeros_like(speed) if self.speed is None else self.speed
        self.speed = old + _share(options.speed_cutoff_hz, seconds) * (speed - old)
        above = np.maximum(self.speed - options.noise_speed, 0)
        step *= _share(options.cutoff_hz + options.speed_factor * above, seconds)
        self._value = (
            self._value @ rotvec_to_matrix(step) if self._rotations else self._value + step
        )
        return self._value


def difference(old: Array, new: Array, *, rotations: bool) -> Array:
    """(..., D), or (..., 3) rotation vectors in the frame of the old rotations."""
    return matrix_to_rotvec(np.swapaxes(old, -1, -2) @ new) if rotations else new - old


def _share(cutoff_hz: npt.ArrayLike, seconds: float) -> Array:
    """Of a step that a low-pass filter takes."""
    turn = 2 * np.pi * np.asarray(cutoff_hz) * seconds
    share: Array = turn / (turn + 1)
    return share


_START_FRAMES = 6


def filtered(
    values: npt.ArrayLike,
    times: npt.ArrayLike,
    options: OneEuroOptions,
    *,
    rotations: bool = False,
) -> Array:
    """(T, N, 3, 3) or (T, N, D) at `times` (T,) in seconds, filtered.

    The result is filtered again from the end to the start: it lags behind neither. How quick the
    first frames are is known from the start.
    """
    array, seconds = np.asarray(values, np.float64), np.diff(np.asarray(times, np.float64))
    if len(array) < 2:
        return array
    first = array[: _START_FRAMES + 1]
    steps = np.linalg.norm(difference(first[:-1], first[1:], rotations=rotations), axis=-1)
    speed = (steps / seconds[: len(steps), None]).mean(0)[:, None]
    forward = OneEuroFilter(options, rotations=rotations, speed=speed)
    array = _one_way(array, seconds, forward)
    backward = OneEuroFilter(options, rotations=rotations, speed=forward.speed)
    return _one_way(array[::-1], seconds[::-1], backward)[::-1]


def _one_way(values: Array, seconds: Array, step: OneEuroFilter) -> Array:
    passed = np.concatenate([[0.0], seconds])
    return np.stack([step(value, time) for value, time in zip(values, passed, strict=True)])
