"""How networks are made and trained, as plain values; the presets."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dualhmr.keypoints import BODY_23
from dualhmr.losses import LossWeights
from dualhmr.manifest import NetworkSpec
from dualhmr_training.meta_step import InnerLoop
from dualhmr_training.synthetic.people import Population


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam for the outer problem: warm-up, then half a cosine from one rate to the other."""

    learning_rate: float = 1e-3
    final_rate: float = 3e-6
    warm_up_steps: int = 300
    max_norm: float = 1.0
    """Bound on the length of the gradient, all parameters together."""


@dataclass(frozen=True)
class TrainingConfig:
    """Training of the two networks, together, as Eq. 8 says.

    Without `auxiliary` the main network is trained alone: with `inner.steps=0` as Eq. 1 says, with
    inner steps on 2D keypoints alone as Eq. 6 and 7 say.
    """

    main: NetworkSpec
    auxiliary: NetworkSpec | None
    inner: InnerLoop = field(default_factory=InnerLoop)
    weights: LossWeights = field(default_factory=LossWeights)
    outer_losses: tuple[str, ...] | None = None
    """Names of the losses of the outer problem; None is all that have a weight."""
    loss_scale: float = 1.0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    population: Population = field(default_factory=Population)
    batch: int = 256
    """Over all processes."""
    steps: int = 10_000
    dropout: float = 0.0
    """In the heads."""
    ema_decay: float | None = None
    precision: str = "no"
    """`no` (float32) or `bf16`."""
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 500


def keypoint_network(*, feature_count: int = 512, blocks: int, hidden: int = 512) -> NetworkSpec:
    """A network that reads the 23 keypoints rather than the image."""
    return NetworkSpec(
        backbone="keypoint_trunk",
        backbone_options={
            "keypoint_count": len(BODY_23),
            "feature_count": feature_count,
            "blocks": blocks,
        },
        reads=("keypoints", "box_info"),
        hidden=hidden,
        iterations=3,
        head_reads_box_info=False,
    )


def demo() -> TrainingConfig:
    """The default bundle: keypoint-reading networks, on synthetic people, on a CPU."""
    return TrainingConfig(
        main=keypoint_network(blocks=2),
        auxiliary=keypoint_network(blocks=3),
        inner=InnerLoop(learning_rate=1e-3, max_norm=1.0),
        weights=LossWeights(vertices=0.0),
        steps=14_000,
        seed=1,
    )


PRESETS: dict[str, Callable[[], TrainingConfig]] = {"demo": demo}
