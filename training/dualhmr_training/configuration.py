"""How networks are made and trained, as plain values."""

from dataclasses import dataclass, field

from dualhmr.loss_weights import LossWeights
from dualhmr.manifest import NetworkSpec
from dualhmr_training.inner_loop import InnerLoop
from dualhmr_training.synthetic.appearance import Appearance
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
    appearance: Appearance = field(default_factory=Appearance)
    """Of synthetic people in pictures, for networks that read the image."""
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

    @property
    def reads(self) -> frozenset[str]:
        """Names of all that the networks are given."""
        return frozenset((*self.main.reads, *(self.auxiliary.reads if self.auxiliary else ())))

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
