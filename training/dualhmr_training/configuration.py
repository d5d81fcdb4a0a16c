"""How networks are made and trained, as plain values; the presets."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dualhmr.keypoints import BODY_23
from dualhmr.losses import LossWeights
from dualhmr.manifest import NetworkSpec
from dualhmr_training.meta_step import InnerLoop
from dualhmr_training.synthetic.people import Population

_CHOICES = {"data": ("synthetic", "datasets"), "precision": ("no", "bf16")}
_LEAST = {"batch": 1, "steps": 0, "validate_every": 1, "checkpoint_every": 1, "seed": 0}


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam for the outer problem: warm-up, then half a cosine from one rate to the other."""

    learning_rate: float = 1e-3
    final_rate: float = 3e-6
    warm_up_steps: int = 300
    max_norm: float | None = 1.0
    """Bound on the length of each network's gradient, all its parameters together."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "final_rate", "max_norm"):
            rate = getattr(self, name)
            if rate is not None and not rate > 0:
                raise ValueError(f"optimiser.{name} is {rate}, expected more than 0")
        if self.warm_up_steps < 0:
            raise ValueError(f"optimiser.warm_up_steps is {self.warm_up_steps}, expected 0 or more")


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
    """Those of test time, and of the inner steps."""
    outer_weights: LossWeights | None = None
    """Those of the outer problem; None is `weights`."""
    outer_losses: tuple[str, ...] | None = None
    """Names of the losses of the outer problem; None is all that have a weight."""
    loss_scale: float = 1.0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    camera: str = "cliff"
    """Whose camera the networks predict: `cliff` or `hmr`."""
    data: str = "synthetic"
    """`synthetic` people of `population`, or the licensed `datasets` that users bring."""
    population: Population = field(default_factory=Population)
    with_3dpw: bool = False
    """Which of the paper's two mixes of data sets is drawn from."""
    batch: int = 256
    """Over all processes."""
    steps: int = 10_000
    epochs: int | None = None
    """Of the licensed data sets; replaces `steps`."""
    dropout: float = 0.0
    """In the heads."""
    ema_decay: float | None = None
    precision: str = "no"
    """`no` (float32) or `bf16`."""
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 500

    @property
    def supervision(self) -> LossWeights:
        """The weights of the outer problem."""
        return self.outer_weights or self.weights

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}"
                )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} or more")
        for name in ("dropout", "ema_decay"):
            share = getattr(self, name)
            if share is not None and not 0 <= share < 1:
                raise ValueError(f"{name} is {share}, expected 0 or more and less than 1")
        if self.epochs is not None and self.data == "synthetic":
            raise ValueError("there are no epochs of synthetic people; give steps")
        if self.precision == "bf16" and self.inner.steps and self.inner.scope == "all":
            raise ValueError(
                "inner steps of a backbone are lost in bf16; give precision no, or inner.scope head"
            )


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


def image_network(backbone: str, *, iterations: int, reads_box_info: bool) -> NetworkSpec:
    """A network of the paper: CLIFF where the head reads box info, HMR otherwise."""
    return NetworkSpec(
        backbone=backbone,
        backbone_options={},
        reads=("image", "box_info") if reads_box_info else ("image",),
        hidden=1024,
        iterations=iterations,
        head_reads_box_info=reads_box_info,
    )


def paper(main: str, auxiliary: str, *, cliff: bool, batch: int, epochs: int) -> TrainingConfig:
    """The paper's training (section 3.5 and the release): Adam at 1e-4, inner steps at 1e-5.

    The main network's head runs ten iterations, the auxiliary network's three.
    """
    return TrainingConfig(
        main=image_network(main, iterations=10, reads_box_info=cliff),
        auxiliary=image_network(auxiliary, iterations=3, reads_box_info=cliff),
        camera="cliff" if cliff else "hmr",
        data="datasets",
        inner=InnerLoop(learning_rate=1e-5),
        loss_scale=60.0,
        optimiser=OptimiserConfig(
            learning_rate=1e-4, final_rate=1e-4, warm_up_steps=0, max_norm=None
        ),
        batch=batch,
        epochs=epochs,
        dropout=0.5,
    )


PRESETS: dict[str, Callable[[], TrainingConfig]] = {
    "demo": demo,
    "paper-cliff-hrnet": lambda: paper(
        "hrnet_w48_concatenated", "hrnet_w48_classification", cliff=True, batch=30, epochs=25
    ),
    "paper-cliff-resnet": lambda: paper("resnet50", "resnet50", cliff=True, batch=40, epochs=65),
    "paper-hmr-resnet": lambda: paper("resnet50", "resnet50", cliff=False, batch=40, epochs=65),
}
FINE_TUNING_EPOCHS = 5
"""On the mix with 3DPW, before evaluating on it: `--with_3dpw true --epochs 5`."""
