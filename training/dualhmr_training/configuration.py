"""How networks are made and trained, as plain values."""

from dataclasses import dataclass, field

from dualhmr.losses import LossWeights
from dualhmr_training.synthetic.people import Population


@dataclass(frozen=True)
class NetworkConfig:
    """A keypoint-reading network: the size of its trunk and of its head."""

    feature_count: int = 512
    blocks: int = 2
    hidden: int = 512
    iterations: int = 3


@dataclass(frozen=True)
class TrainingConfig:
    """Ordinary supervised training (Eq. 1) on synthetic people."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    population: Population = field(default_factory=Population)
    weights: LossWeights = field(default_factory=lambda: LossWeights(vertices=0.0))
    steps: int = 10_000
    batch: int = 256
    learning_rate: float = 1e-3
    final_rate: float = 3e-6
    warm_up_steps: int = 300
    gradient_clip: float = 1.0
    seed: int = 0
