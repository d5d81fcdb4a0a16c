"""Budgets (networks, training, number of people) and training recipes, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dualhmr.bundle import NetworkSpec
from dualhmr_benchmarks.claims.experiments.populations import (
    GIVEN,
    NARROW,
    VARIED,
    training_population,
)
from dualhmr_training.configuration import OptimiserConfig, TrainingConfig
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.presets import (
    demo_keypoints,
    image_network,
    keypoint_network,
    landmark_network,
    synthetic_resnet,
)


@dataclass(frozen=True)
class Budget:
    """One size of all experiments."""

    name: str
    network: Callable[[bool], NetworkSpec]
    """CLIFF's, or HMR's for False; main and auxiliary network are alike, as in the paper."""
    training: TrainingConfig
    """Of the full method; a recipe sets networks, people and seed."""
    given: TrainingConfig
    """The same where networks read the keypoints that test time fits (`GIVEN`), with the main
    network; it reads keypoints in every budget."""
    fine_tuning_steps: int
    adam_rates: tuple[float, ...]
    """The candidates at test time; `evaluations` chooses one for each method."""
    people: int
    """In a test."""
    few_people: int
    """In a test where every step runs through autograd, which is slow."""
    rate_people: int
    """To choose rates on."""
    latency_networks: tuple[str, ...]
    latency_rounds: int


def _small_network(cliff: bool) -> NetworkSpec:
    network = keypoint_network(feature_count=256, blocks=2, hidden=128)
    if cliff:
        return network
    options = {**network.backbone_options, "reads_box_info": 0}
    return replace(network, backbone_options=options, reads=("keypoints",))


def _tiny_network(cliff: bool) -> NetworkSpec:
    small = _small_network(cliff)
    options = {**small.backbone_options, "feature_count": 32, "blocks": 1}
    return replace(small, backbone_options=options, hidden=16)


def _full_network(cliff: bool) -> NetworkSpec:
    return image_network("resnet50", iterations=3, reads_box_info=cliff)


def _small_training(*, batch: int, steps: int, warm_up: int) -> TrainingConfig:
    return replace(
        demo_keypoints(),
        batch=batch,
        steps=steps,
        optimiser=OptimiserConfig(warm_up_steps=warm_up),
        validate_every=steps,
        checkpoint_every=max(1, steps // 3),
    )


_SMALL_TRAINING = _small_training(batch=128, steps=1200, warm_up=100)
_TINY_TRAINING = _small_training(batch=8, steps=6, warm_up=2)
_SMALL = Budget(
    name="small",
    network=_small_network,
    training=_SMALL_TRAINING,
    given=replace(_SMALL_TRAINING, main=_small_network(True)),
    fine_tuning_steps=400,
    adam_rates=(3e-5, 6e-5, 1e-4, 2e-4, 4e-4),
    people=1000,
    few_people=500,
    rate_people=200,
    latency_networks=("default", "resnet50", "hrnet_w48"),
    latency_rounds=3,
)

BUDGETS: Mapping[str, Budget] = {
    "small": _SMALL,
    "full": Budget(
        name="full",
        network=_full_network,
        training=replace(synthetic_resnet(), steps=60_000),
        given=demo_keypoints(),
        fine_tuning_steps=10_000,
        adam_rates=(3e-6, 1e-5, 3e-5, 1e-4),
        people=1500,
        few_people=500,
        rate_people=200,
        latency_networks=("default", "resnet50", "hrnet_w48"),
        latency_rounds=7,
    ),
    "tiny": replace(
        _SMALL,
        name="tiny",
        network=_tiny_network,
        training=_TINY_TRAINING,
        given=replace(_TINY_TRAINING, main=_tiny_network(True)),
        fine_tuning_steps=2,
        adam_rates=(1e-4, 1e-3),
        people=6,
        few_people=4,
        rate_people=3,
        latency_networks=("default",),
        latency_rounds=1,
    ),
}
"""By name. `small` takes an hour or so on two cores, `full` needs a GPU, `tiny` only shows that
everything runs."""


KEYPOINTS_ONLY = ("keypoints_2d",)
CLIFF, HMR = "cliff", "hmr"


@dataclass(frozen=True)
class Recipe:
    """A training, but for its budget and seed; by default the paper's method on CLIFF."""

    regressor: str = CLIFF
    style: str = VARIED
    """Of the people in training."""
    auxiliary: bool = True
    eye: bool = False
    """Whether the auxiliary network also looks at the image, with a landmark network. Landmarks are
    simulated in training."""
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
    """The name of the recipe whose weights it fine-tunes."""

    def configuration(self, budget: Budget, seed: int) -> TrainingConfig:
        """The training's configuration."""
        given = self.style == GIVEN
        base = budget.given if given else budget.training
        network = base.main if given else budget.network(self.regressor == CLIFF)
        auxiliary = _with_eye(network) if self.eye else network
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
            auxiliary=auxiliary if self.auxiliary else None,
            landmarks=LandmarkErrors() if self.eye else None,
            inner=inner,
            outer_losses=self.outer_losses,
            optimiser=optimiser,
            camera=self.regressor,
            population=training_population(self.style),
            steps=budget.fine_tuning_steps if self.starts_from else base.steps,
            seed=seed,
        )


def _with_eye(network: NetworkSpec) -> NetworkSpec:
    """A network as large that reads the same keypoints, and looks at the image."""
    options = network.backbone_options
    return landmark_network(
        feature_count=options["feature_count"], blocks=options["blocks"], hidden=network.hidden
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
    "given_ordinary": replace(_ORDINARY, style=GIVEN),
    "given_dual": replace(_DUAL, style=GIVEN),
    "given_dual_eye": replace(_DUAL, style=GIVEN, eye=True),
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
"""By name: regressor or people, then the method. `Recipe` and its defaults define each."""
