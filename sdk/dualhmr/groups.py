"""How persons are grouped on a GPU, where work is prepared for a few numbers of them."""

from collections.abc import Sequence

import numpy as np

from dualhmr.arrays import Array, is_tensor, library_of, to_numpy

GROUP_SIZES = (1, 4, 16, 64)
"""Numbers of persons that work is prepared for; smaller groups are filled up."""


def group_sizes(persons: int, sizes: Sequence[int] = GROUP_SIZES) -> list[tuple[int, int]]:
    """Pairs of how many persons to take, and which of the ascending `sizes` to fill up to.

    A group is filled up to at most twice its persons: 5 are 4 and 1. Raises ValueError for sizes
    that do not begin with 1.
    """
    if not sizes or sizes[0] != 1:
        raise ValueError(f"group sizes are {tuple(sizes)}, expected 1 and larger ones")
    groups = []
    while persons > 0:
        size = min((size for size in sizes if persons <= size <= 2 * persons), default=0)
        size = size or max(size for size in sizes if size <= persons)
        groups.append((min(size, persons), size))
        persons -= groups[-1][0]
    return groups


def filled_up(rows: Sequence[Array], size: int) -> Array:
    """Arrays (1, ...) of persons as one (`size`, ...); the first person fills up what is left.

    Tensors of PyTorch stay on their device, other libraries' arrays become NumPy's.
    """
    rows = [*rows, *[rows[0]] * (size - len(rows))]
    if is_tensor(rows[0]):
        return library_of(rows[0]).cat(rows)
    return np.concatenate([to_numpy(row) for row in rows])
