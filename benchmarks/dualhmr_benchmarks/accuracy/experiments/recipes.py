"""The trainings that the claims compare, as configurations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dualhmr_benchmarks.accuracy.experiments.budgets import Budget
from dualhmr_benchmarks.accuracy.experiments.world import NARROW, VARIED, training_population
from dualhmr_training.configuration import TrainingConfig

KEYPOINTS_ONLY = ("keypoints_2d",)
CLIFF, HMR = "cliff", "hmr"


@dataclass(frozen=True)
class Recipe:
    """A training, but for its budget and seed."""

    regressor: str = CLIFF
    style: str = VARIED
    """Of the people it is trained on."""
    auxiliary: bool = True
    inner_steps: int = 1
    inner_losses: tuple[str, ...] | None = None
    scope: str = "head"
    weights_per: str = "sample"
    inner_rate: float = 1.0
    """Of the inner step, in units of the budget's."""
    outer_rate: float = 1.0
    """Of training, in units of the budget's."""
    outer_losses: tuple[str, ...] | None = None
    starts_from: str | None = None
    """Name of the recipe whose weights it fine-tunes."""

    def configuration(self, budget: Budget, seed: int) -> TrainingConfig:
        """With everything that training needs to know."""
        network = budget.network(self.regressor == CLIFF)
        base = budget.training
        inner = replace(
            base.inner,
            steps=self.inner_steps,
            losses=self.inner_losses,
            scope=self.scope,
            weights_per=self.weights_per,
            learning_rate=base.inner.learning_rate * self.inner_rate,
        )
        optimiser = replace(
            base.optimiser,
            learning_rate=base.optimiser.learning_rate * self.outer_rate,
            final_rate=base.optimiser.final_rate * self.outer_rate,
        )
        return replace(
            base,
            main=network,
            auxiliary=network if self.auxiliary else None,
            inner=inner,
            outer_losses=self.outer_losses,
            optimiser=optimiser,
            camera=self.regressor,
            population=training_population(self.style),
            steps=budget.fine_tuning_steps if self.starts_from else base.steps,
            seed=seed,
        )


_DUAL = Recipe()
_ORDINARY = Recipe(inner_steps=0)
_META = Recipe(auxiliary=False, inner_losses=KEYPOINTS_ONLY)

RECIPES: Mapping[str, Recipe] = {
    "cliff_ordinary": _ORDINARY,
    "cliff_meta": _META,
    "cliff_dual": _DUAL,
    "hmr_ordinary": replace(_ORDINARY, regressor=HMR, auxiliary=False),
    "hmr_dual": replace(_DUAL, regressor=HMR),
    "narrow_ordinary": replace(_ORDINARY, style=NARROW, auxiliary=False),
    "narrow_meta": replace(_META, style=NARROW),
    "narrow_dual": replace(_DUAL, style=NARROW),
    "two_inner_steps": replace(_DUAL, inner_steps=2),
    "three_inner_steps": replace(_DUAL, inner_steps=3),
    "all_parameters": replace(_DUAL, scope="all"),
    "one_set_per_batch": replace(_DUAL, weights_per="batch"),
    "fine_tuned_on_2d": Recipe(
        auxiliary=False,
        inner_losses=KEYPOINTS_ONLY,
        outer_losses=(*KEYPOINTS_ONLY, "camera"),
        starts_from="cliff_ordinary",
    ),
    "inner_rate_low": replace(_DUAL, inner_rate=0.1),
    "inner_rate_high": replace(_DUAL, inner_rate=10),
    "inner_rate_highest": replace(_DUAL, inner_rate=100),
    "inner_high_outer_high": replace(_DUAL, inner_rate=10, outer_rate=10),
    "inner_high_outer_low": replace(_DUAL, inner_rate=10, outer_rate=0.1),
    "inner_high_outer_lowest": replace(_DUAL, inner_rate=10, outer_rate=0.01),
}
"""By name: regressor or people, and what is done to them."""
