"""How the main network is adapted inside training, as plain values."""

from dataclasses import dataclass

from dualhmr.adaptation import GradientDescent


@dataclass(frozen=True)
class InnerLoop:
    """The steps that are taken for each sample before the outer loss is evaluated.

    Configurations of the paper: `steps=0` is ordinary training (Eq. 1); `losses=("keypoints_2d",)`
    is meta-learning without the auxiliary network (Eq. 6-7, Table 3, second row); the default is
    the full method (Eq. 8-9).
    """

    steps: int = 1
    learning_rate: float = 1e-5
    max_norm: float | None = None
    """Bound on the length of the gradient that a step descends: a sample's own, or the batch's."""
    losses: tuple[str, ...] | None = None
    """Names of the losses that are descended on; None is all that the objective has."""
    second_order: bool = False
    scope: str = "head"
    """`head`, as in the release, or `all`: the backbone's parameters too."""
    weights_per: str = "sample"
    """`sample`: each adapts its own, as in the paper's equations. `batch`: as in the release, one
    set for all, on the mean of their losses; of several processes, each has its own set."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"inner steps are {self.steps}, expected 0 or more")
        if self.scope not in ("head", "all"):
            raise ValueError(f"unknown inner scope {self.scope!r}; known are head, all")
        if self.weights_per not in ("sample", "batch"):
            raise ValueError(
                f"unknown inner weights_per {self.weights_per!r}; known are sample, batch"
            )

    @property
    def optimiser(self) -> GradientDescent:
        """The inner update rule."""
        return GradientDescent(self.learning_rate, self.max_norm)
