"""`SMPLParameters`: one posed and shaped body in SMPL's parameters, whatever estimated it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import shown
from dualhmr.body.arrays import JOINT_COUNT

FloatArray = npt.NDArray[np.float32]

_MATRICES = (JOINT_COUNT, 3, 3)
_VECTORS = ((JOINT_COUNT, 3), (3 * JOINT_COUNT,))
_MOST_BETAS = 300
_ROTATION_TOLERANCE = 5e-3
"""Of every number of R Rᵀ - 1: half-precision files and matrices of three decimals pass."""


@dataclass(frozen=True, eq=False, repr=False)
class SMPLParameters:
    """Pose and shape of one person: a pseudo mesh, or what any network says.

    Arrays are copied to float32 and cannot be changed. The global orientation turns the body's own
    frame (x left, y up, z front) into the camera's (x right, y down, z forward); see `turned` for
    bodies of another frame. Betas are of the body that they are used with: those of SMPL mean
    nothing on the free body.

    Raises TypeError for what is no numbers; ValueError for other shapes, numbers that are not
    finite, and matrices that are no rotations.
    """

    rotations: FloatArray
    """(24, 3, 3) rotation matrices: the global orientation, then relative to the parent joint.

    The constructor takes axis-angle vectors in radians too, (24, 3) or (72,).
    """
    betas: FloatArray
    """(B,), 10 for nearly all networks."""

    def __post_init__(self) -> None:
        rotations, betas = _numbers("rotations", self.rotations), _numbers("betas", self.betas)
        if rotations.shape in _VECTORS:
            rotations = rotvec_to_matrix(rotations.reshape(JOINT_COUNT, 3))
        if rotations.shape != _MATRICES:
            raise ValueError(
                f"rotations have the shape {rotations.shape}, expected (24, 3, 3) matrices, or "
                "axis-angle (24, 3) or (72,), of one person"
            )
        if betas.ndim != 1 or not 1 <= len(betas) <= _MOST_BETAS:
            raise ValueError(f"betas have the shape {betas.shape}, expected (10,), of one person")
        _check_rotations(rotations)
        for name, array in (("rotations", rotations), ("betas", betas)):
            frozen = np.array(array, np.float32)
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    def __repr__(self) -> str:
        """In one line, without the numbers."""
        return f"SMPLParameters(24 rotations, {len(self.betas)} betas)"

    def turned(self, rotation: npt.ArrayLike) -> "SMPLParameters":
        """The same body seen from a camera: `rotation` (3, 3), of its world into the camera frame.

        Motion files such as AMASS's have bodies in a world of their own.
        """
        turn = _numbers("rotation", rotation)
        if turn.shape != (3, 3):
            raise ValueError(f"rotation has the shape {turn.shape}, expected (3, 3)")
        rotations = self.rotations.astype(np.float64)
        rotations[0] = turn @ rotations[0]
        return SMPLParameters(rotations, self.betas)  # type: ignore[arg-type]


def _numbers(name: str, values: Any) -> npt.NDArray[np.float64]:
    try:
        array: npt.NDArray[Any] = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} of type {type(values).__name__} cannot become a NumPy array ({error}); for a "
            "torch tensor use .detach().cpu().numpy()"
        ) from error
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {shown(values)}, expected an array of numbers")
    numbers = array.astype(np.float64)
    # Before it becomes float32, where larger numbers are infinite.
    if not (np.abs(numbers) < np.finfo(np.float32).max).all():
        raise ValueError(f"{name} has numbers that are not finite in single precision")
    return numbers


def _check_rotations(rotations: npt.NDArray[np.float64]) -> None:
    """Raises ValueError, naming the joint, for matrices that are not orthonormal or mirror."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(rotations @ rotations.swapaxes(-1, -2) - np.eye(3)).max(axis=(-1, -2))
    # Not `> tolerance`, which NaN would pass.
    bad = ~(error <= _ROTATION_TOLERANCE)
    if bad.any():
        joint = int(bad.argmax())
        raise ValueError(
            f"the matrix of joint {joint} is no rotation: R Rᵀ differs from the identity by "
            f"{error[joint]:.3g}, at most {_ROTATION_TOLERANCE:g} is rounding"
        )
    mirrored = np.linalg.det(rotations) < 0
    if mirrored.any():
        raise ValueError(
            f"the matrix of joint {int(mirrored.argmax())} mirrors: its determinant is -1"
        )


def rotvec_to_matrix(rotvec: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Axis-angle vectors (..., 3) in radians -> matrices (..., 3, 3), by Rodrigues' formula.

    In NumPy and without a gradient; `dualhmr.rotations.rotvec_to_rotmat` is the one in PyTorch.
    """
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    skew = np.zeros((*rotvec.shape, 3))
    for row, column, axis in ((2, 1, 0), (0, 2, 1), (1, 0, 2)):
        skew[..., row, column] = rotvec[..., axis]
        skew[..., column, row] = -rotvec[..., axis]
    # sinc(x) is sin(pi x) / (pi x), and 1 at 0.
    half = np.sinc(angle / (2 * math.pi))
    return np.eye(3) + np.sinc(angle / math.pi) * skew + half**2 / 2 * (skew @ skew)
