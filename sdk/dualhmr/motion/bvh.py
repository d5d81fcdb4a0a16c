"""Skeleton and motion as BVH text: centimetres, y-up, Euler angles that do not jump."""

import io

import numpy as np
import numpy.typing as npt

from dualhmr.motion.skeleton import Array, SkeletonMotion

_CENTIMETRES = 100.0
Order = tuple[int, int, int]
_ORDERS: tuple[Order, ...] = (
    (2, 0, 1), (2, 1, 0), (1, 0, 2), (0, 1, 2), (0, 2, 1), (1, 2, 0),
)  # fmt: skip
"""Of axes; the first one, Z, X, Y, is that of most files."""
_SAFE = 0.94
"""Sine of the middle angle up to which the usual order is kept: 70 degrees."""
_AXES = "XYZ"


def bvh_text(skeleton: SkeletonMotion) -> str:
    """The file. Rest is a T-pose; the root's position is in the frame of the world.

    Three angles cannot follow a turn evenly where the middle one is near 90 degrees. So every joint
    has the usual order Z, X, Y unless its middle angle comes near there, and otherwise the order
    that stays farthest away. The file names each joint's order, as the format has it.
    """
    text = io.StringIO()
    orders = [_order(skeleton.rotations[:, joint]) for joint in range(len(skeleton.names))]
    text.write("HIERARCHY\n")
    written = _write_joint(text, skeleton, orders, joint=0, depth=0)
    frames = len(skeleton.rotations)
    text.write(f"MOTION\nFrames: {frames}\nFrame Time: {1 / skeleton.fps:.9g}\n")
    columns = [skeleton.root * _CENTIMETRES]
    columns += [euler_angles(skeleton.rotations[:, joint], orders[joint]) for joint in written]
    np.savetxt(text, np.concatenate(columns, axis=1), "%.6f")
    return text.getvalue()


def _write_joint(
    text: io.StringIO,
    skeleton: SkeletonMotion,
    orders: list[Order],
    *,
    joint: int,
    depth: int,
) -> list[int]:
    """The joint and those below it, and which joints were written, in order."""
    indent, written = "  " * depth, [joint]
    root = skeleton.parents[joint] < 0
    # The position of the root is its channel: an offset would be added to it.
    offset = np.zeros(3) if root else skeleton.offsets[joint] * _CENTIMETRES
    rotation = " ".join(f"{_AXES[axis]}rotation" for axis in orders[joint])
    channels = f"6 Xposition Yposition Zposition {rotation}" if root else f"3 {rotation}"
    text.write(f"{indent}{'ROOT' if root else 'JOINT'} {skeleton.names[joint]}\n{indent}{{\n")
    text.write(f"{indent}  OFFSET {_numbers(offset)}\n{indent}  CHANNELS {channels}\n")
    children = skeleton.children(joint)
    for child in children:
        written += _write_joint(text, skeleton, orders, joint=child, depth=depth + 1)
    if not children:
        # A bone needs an end: half as long as the one before it, straight on.
        text.write(f"{indent}  End Site\n{indent}  {{\n")
        text.write(f"{indent}    OFFSET {_numbers(offset / 2)}\n{indent}  }}\n")
    text.write(f"{indent}}}\n")
    return written


def _numbers(values: Array) -> str:
    return " ".join(f"{value:.6f}" for value in values)


def _order(rotations: Array) -> Order:
    # The sine of the middle angle is, up to its sign, an entry of the matrix.
    largest = [float(np.abs(rotations[:, first, last]).max()) for first, _, last in _ORDERS]
    return _ORDERS[0 if largest[0] <= _SAFE else int(np.argmin(largest))]


def _parity(order: Order) -> int:
    """1 for X, Y, Z and what turns it round, -1 for the others."""
    return 1 if (order[1] - order[0]) % 3 == 1 else -1


def euler_angles(rotations: npt.ArrayLike, order: Order) -> Array:
    """(T, 3, 3) -> (T, 3) degrees, in the order of the axes; R = R_first R_middle R_last.

    Of the angles that mean the same rotation, those nearest to the frame before.
    """
    r = np.asarray(rotations, np.float64)
    i, j, k = order
    sign = _parity(order)
    middle = np.arcsin((sign * r[:, i, k]).clip(-1, 1))
    first = np.arctan2(-sign * r[:, j, k], r[:, k, k])
    last = np.arctan2(-sign * r[:, i, j], r[:, i, i])
    angles = np.stack([first, middle, last], axis=1)
    for frame in range(1, len(angles)):
        a, b, c = angles[frame]
        before = angles[frame - 1]
        # The other solution turns the outer two by half a turn.
        both = np.array([[a, b, c], [a + np.pi, np.pi - b, c + np.pi]])
        both -= 2 * np.pi * np.round((both - before) / (2 * np.pi))
        angles[frame] = both[np.abs(both - before).sum(1).argmin()]
    return np.degrees(angles)
