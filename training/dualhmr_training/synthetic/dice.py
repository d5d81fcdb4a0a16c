"""Random numbers that a seed decides."""

import torch
from torch import Tensor


class Dice:
    """Random numbers from one seeded generator, in the forms that sampling needs."""

    def __init__(self, seed: int) -> None:
        """The same seed gives the same numbers."""
        self._generator = torch.Generator().manual_seed(seed)

    def reseed(self, seed: int) -> None:
        """Starts again, from another seed."""
        self._generator.manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.rand(*shape, generator=self._generator)

    def normal(self, *shape: int) -> Tensor:
        """Mean 0, standard deviation 1."""
        return torch.randn(*shape, generator=self._generator)

    def happens(self, probability: float | Tensor, *shape: int) -> Tensor:
        """True with the given probability."""
        return self.uniform(*shape) < probability

    def integers(self, below: int, count: int) -> Tensor:
        """(count,) whole numbers from 0 to `below` - 1."""
        return torch.randint(below, (count,), generator=self._generator)
