"""A normalising flow, as what mixtures are compared with: affine couplings, given the category."""

import math

import numpy as np
import numpy.typing as npt
import torch
from scripts.pose_prior.captured import Captured, Vectors
from torch import Tensor, nn


class Coupling(nn.Module):
    """Scales and shifts one half of the numbers by a function of the other half."""

    fixed: Tensor
    moved: Tensor

    def __init__(self, size: int, categories: int, hidden: int, seed: int) -> None:
        """The halves are chosen at random."""
        super().__init__()
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("fixed", order[: size // 2])
        self.register_buffer("moved", order[size // 2 :])
        self.net = nn.Sequential(
            nn.Linear(size // 2 + categories, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            last := nn.Linear(hidden, 2 * (size - size // 2)),
        )  # fmt: skip
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def terms(self, x: Tensor, category: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of scales, and shifts."""
        scale, shift = self.net(torch.cat([x[:, self.fixed], category], dim=1)).chunk(2, dim=1)
        return 2 * torch.tanh(scale / 2), shift


class Flow(nn.Module):
    """Couplings around whitened vectors."""

    mean: Tensor
    spread: Tensor

    def __init__(self, vectors: Tensor, categories: int, *, layers: int, hidden: int) -> None:
        """Begins as a Gaussian with the mean and the spread of `vectors` (N, D)."""
        super().__init__()
        self.register_buffer("mean", vectors.mean(0))
        self.register_buffer("spread", vectors.std(0))
        size = vectors.shape[1]
        self._couplings = [Coupling(size, categories, hidden, seed) for seed in range(layers)]
        self.layers = nn.ModuleList(self._couplings)

    def log_density(self, x: Tensor, category: Tensor) -> Tensor:
        """(N,)"""
        x = (x - self.mean) / self.spread
        log = -self.spread.log().sum() - 0.5 * x.shape[1] * math.log(2 * math.pi)
        for layer in self._couplings:
            scale, shift = layer.terms(x, category)
            moved = x[:, layer.moved] * scale.exp() + shift
            x = x.index_copy(1, layer.moved, moved)
            log = log + scale.sum(1)
        return log - 0.5 * x.square().sum(1)

    @torch.no_grad()
    def sample(self, category: Tensor, generator: torch.Generator) -> Tensor:
        """(N, D) for categories (N, C), as indicators."""
        x = torch.randn(len(category), len(self.mean), generator=generator)
        for layer in reversed(self._couplings):
            scale, shift = layer.terms(x, category)
            x = x.index_copy(1, layer.moved, (x[:, layer.moved] - shift) * (-scale).exp())
        return x * self.spread + self.mean


def fit_flow(
    captured: Captured, watched: Captured, *, noise: float, steps: int, layers: int, hidden: int
) -> Flow:
    """Trains on `captured`, categories equally often; keeps the best on `watched`."""
    torch.manual_seed(0)
    names = np.unique(captured.categories)
    data, category = _tensors(captured.vectors, captured.categories, names)
    seen, seen_category = _tensors(watched.vectors, watched.categories, names)
    counts = category.sum(0)
    chances = (category / counts).sum(1)
    seen_weight = (seen_category / seen_category.sum(0)).sum(1) / len(names)
    seen = seen + noise * torch.randn_like(seen)
    flow = Flow(data, len(names), layers=layers, hidden=hidden)
    optimiser = torch.optim.AdamW(flow.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept = -np.inf, flow.state_dict()
    for step in range(1, steps + 1):
        rows = torch.multinomial(chances, 512, replacement=True)
        batch = data[rows] + noise * torch.randn(len(rows), data.shape[1])
        loss = -flow.log_density(batch, category[rows]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            with torch.no_grad():
                now = float((flow.log_density(seen, seen_category) * seen_weight).sum())
            print(f"step {step}: training {-loss.item():.2f}, held out {now:.2f}", flush=True)
            if now > best:
                best, kept = now, {name: value.clone() for name, value in flow.state_dict().items()}
    flow.load_state_dict(kept)
    return flow


def _tensors(
    vectors: Vectors, categories: npt.NDArray[np.str_], names: npt.NDArray[np.str_]
) -> tuple[Tensor, Tensor]:
    one_hot = torch.from_numpy((categories[:, None] == names).astype(np.float32))
    return torch.from_numpy(vectors.astype(np.float32)), one_hot
