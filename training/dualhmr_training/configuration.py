"""How networks are made and trained, as frozen dataclasses, and setting fields by dotted names.

Overrides are our own code, since no library is as strict: msgspec ignores unknown fields of
dataclasses, cattrs turns "3" and 2.7 into whole numbers, and tyro replaces the command line and
cannot set fields below an optional network.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from dualhmr.adaptation.optimisers import GradientDescent
from dualhmr.bundle import NetworkSpec
from dualhmr.objective.weights import LossWeights
from dualhmr.plain_data import from_plain
from dualhmr.untrusted import parse_json
from dualhmr_training.data.synthetic.degradations import Appearance
from dualhmr_training.data.synthetic.landmarks import LandmarkErrors
from dualhmr_training.data.synthetic.people import Population

T = TypeVar("T")

LANDMARK_TRUNK = "landmark_trunk"
"""The backbone whose landmarks can be simulated."""


@dataclass(frozen=True)
class InnerLoop:
    """The steps that are taken for each sample before the outer loss is evaluated.

    Configurations of the paper: `steps=0` is ordinary training (Eq. 1); `losses=("keypoints_2d",)`
    is meta-learning without the auxiliary network (Eq. 6-7, Table 3, second row); the default is
    the full method (Eq. 8-9).
    """

    steps: int = 1
    """0 is ordinary training."""
    learning_rate: float = 1e-5
    """Of the plain gradient step."""
    max_norm: float | None = None
    """Bound on the length of the gradient that a step descends: a sample's own, or the batch's."""
    losses: tuple[str, ...] | None = None
    """Names of the losses that are descended on; None is all that the objective has."""
    second_order: bool = False
    """Whether the outer gradient goes through the inner gradients; first order is the release's."""
    scope: str = "head"
    """`head`, as in the release, or `all`: the backbone's parameters too."""
    weights_per: str = "sample"
    """`sample`: each adapts its own, as in the paper's equations. `batch`: as in the release, one
    set for all, on the mean of their losses; of several processes, each has its own set."""
    pseudo_loss: str = "all"
    """`all`: everybody is compared with their pseudo mesh. `release`: as in the release, only those
    whose mesh is annotated; the others' steps are on 2D keypoints and the camera alone."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"inner steps are {self.steps}, expected 0 or more")
        if self.scope not in ("head", "all"):
            raise ValueError(f"unknown inner scope {self.scope!r}; known are head, all")
        if self.weights_per not in ("sample", "batch"):
            raise ValueError(
                f"unknown inner weights_per {self.weights_per!r}; known are sample, batch"
            )
        if self.pseudo_loss not in ("all", "release"):
            raise ValueError(
                f"unknown inner pseudo_loss {self.pseudo_loss!r}; known are all, release"
            )

    @property
    def optimiser(self) -> GradientDescent:
        """The inner update rule."""
        return GradientDescent(self.learning_rate, self.max_norm)


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


_CHOICES = {"data": ("synthetic", "datasets"), "precision": ("no", "bf16")}
_LEAST = {"batch": 1, "steps": 0, "validate_every": 1, "checkpoint_every": 1, "seed": 0}


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
    """Of the outer loss."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    camera: str = "cliff"
    """Whose camera the networks predict: `cliff` or `hmr`."""
    data: str = "synthetic"
    """`synthetic` people of `population`, or the licensed `datasets` that users bring."""
    population: Population = field(default_factory=Population)
    """Who the synthetic people are, and what a detector sees of them."""
    appearance: Appearance = field(default_factory=Appearance)
    """Of synthetic people in pictures, for networks that read the image."""
    landmarks: LandmarkErrors | None = None
    """Of landmarks that are simulated, so that nobody is rendered for networks whose backbone is a
    `landmark_trunk`. None: they look at pictures."""
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
    """Of a moving average of the weights, which is then validated and written."""
    precision: str = "no"
    """`no` (float32) or `bf16`."""
    seed: int = 0
    validate_every: int = 500
    """Steps; a row of `history.jsonl` each time."""
    checkpoint_every: int = 500

    @property
    def supervision(self) -> LossWeights:
        """The weights of the outer problem."""
        return self.outer_weights or self.weights

    @property
    def reads(self) -> frozenset[str]:
        """Names of the inputs of both networks."""
        return frozenset((*self.main.reads, *(self.auxiliary.reads if self.auxiliary else ())))

    @property
    def renders(self) -> bool:
        """Whether synthetic people are rendered."""
        return "image" in self.reads and self.landmarks is None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}"
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
        if self.landmarks is not None:
            self._check_landmarks()
        if self.precision == "bf16" and self.inner.steps and self.inner.scope == "all":
            raise ValueError(
                "inner steps of a backbone are lost in bf16; give precision no, or inner.scope head"
            )

    def _check_landmarks(self) -> None:
        specs = [spec for spec in (self.main, self.auxiliary) if spec is not None]
        looking = {spec.backbone for spec in specs if "image" in spec.reads}
        if looking != {LANDMARK_TRUNK} or self.data != "synthetic":
            raise ValueError(
                f"landmarks are simulated for the {LANDMARK_TRUNK} and synthetic people alone, but "
                f"networks that read the image are {', '.join(sorted(looking)) or 'missing'} and "
                f"data is {self.data}; give landmarks null"
            )
        if self.precision != "no":
            raise ValueError("with simulated landmarks, precision must be no")


def with_overrides(config: T, arguments: Sequence[str]) -> T:
    """`config` with the fields that `arguments` name: `--a.field value`, or `--a.field=value`.

    A value is read as JSON, and as text where it is not JSON: `--steps 100`, `--inner.losses
    '["keypoints_2d"]'`, `--auxiliary null`, `--precision bf16`. Raises ValueError for a field that
    is not there, a value of the wrong type, or arguments that are not such pairs.
    """
    plain = asdict(config)  # type: ignore[call-overload]
    for name, text in _pairs(arguments):
        _set(plain, name.split("."), _value(text))
    return from_plain(type(config), plain)


def differences(there: object, here: object) -> list[str]:
    """The fields in which two configurations of one class differ, as sentences."""
    return list(_differences(asdict(there), asdict(here), ""))  # type: ignore[call-overload]


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    left = iter(arguments)
    for argument in left:
        if not argument.startswith("--"):
            raise ValueError(f"{argument!r} is not a field; write --field value")
        name, joined, text = argument[2:].partition("=")
        value = text if joined else next(left, None)
        if value is None:
            raise ValueError(f"{argument} needs a value after it")
        yield name, value


def _set(plain: dict[str, Any], path: list[str], value: object) -> None:
    """Sets what is already there; a dict's entries count as fields."""
    *parents, last = path
    fields: Any = plain
    for depth, parent in enumerate(parents):
        _check_field(fields, path[:depth], parent)
        fields = fields[parent]
    _check_field(fields, parents, last)
    fields[last] = value


def _check_field(fields: object, path: list[str], name: str) -> None:
    where = ".".join(path)
    field = f"--{where}.{name}" if where else f"--{name}"
    if not isinstance(fields, dict):
        raise ValueError(f"there is no field {field}: {where} is {json.dumps(fields)}")
    if name not in fields:
        raise ValueError(f"there is no field {field}; known here are {', '.join(fields)}")


def _value(text: str) -> object:
    try:
        return parse_json(text)
    except ValueError:
        return text


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str) -> Iterator[str]:
    for name in {**there, **here}:
        was, now = there.get(name), here.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _differences(was, now, f"{prefix}{name}.")
        elif was != now:
            yield f"{prefix}{name} was {json.dumps(was)} and is {json.dumps(now)}"
