"""Persons to adapt a regressor head to, with losses that need no body."""

from collections.abc import Collection
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.fast_head import AffineHead, TorchArithmetic
from dualhmr.adaptation.fast_head.compiled import CompiledArithmetic
from dualhmr.adaptation.optimisers import Parameters
from dualhmr.adaptation.schedule import Schedule, named_schedule
from dualhmr.adaptation.step import LossFunction
from dualhmr.networks import HeadOutput, RegressorHead, affine_head

arithmetics = pytest.mark.parametrize("arithmetic", [TorchArithmetic(), CompiledArithmetic()])


def schedule_named(name: str, *, tolerance: float = 0.0) -> Schedule:
    return named_schedule(
        name, adam_rate=1e-3, descent_rate=1e-2, descent_max_norm=0.5, tolerance=tolerance
    )


ESTIMATE = 157


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@dataclass(frozen=True)
class HeadProblem:
    """A head, and N persons' features, box info and goals, of one dtype."""

    head: RegressorHead
    features: Tensor
    box_info: Tensor | None
    goal: Tensor
    mix: Tensor

    @staticmethod
    def of(
        *,
        persons: int = 1,
        features: int = 20,
        hidden: int = 24,
        iterations: int = 3,
        reads_box_info: bool = True,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> "HeadProblem":
        """Features with zeros, as behind a ReLU, and with values that hardly count.

        With `hidden` 0 the head has no hidden layers.
        """
        torch.manual_seed(seed)
        head = RegressorHead(
            features, hidden=hidden, iterations=iterations, reads_box_info=reads_box_info
        )
        for decoder in (head.decpose, head.decshape, head.deccam):
            torch.nn.init.normal_(decoder.weight, std=0.1 / (hidden or features) ** 0.5)
        values = normal(persons, features, seed=seed + 1).relu()
        values[:, :5] = torch.tensor([0.0, 1e-30, 1e-12, 3e-7, 1e-4])
        return HeadProblem(
            head.to(dtype).eval(),
            values.to(dtype),
            normal(persons, 3, seed=seed + 2).to(dtype) if reads_box_info else None,
            (0.3 * normal(persons, ESTIMATE, seed=seed + 3)).to(dtype),
            (normal(ESTIMATE, 40, seed=seed + 4) / ESTIMATE**0.5).to(dtype),
        )

    def person(self, i: int) -> "HeadProblem":
        box_info = None if self.box_info is None else self.box_info[i : i + 1]
        own = slice(i, i + 1)
        return HeadProblem(self.head, self.features[own], box_info, self.goal[own], self.mix)

    @property
    def parameters(self) -> Parameters:
        return {name: parameter.detach() for name, parameter in self.head.named_parameters()}

    @property
    def affine(self) -> AffineHead:
        return affine_head(self.head)

    @property
    def head_input(self) -> Tensor:
        return self.head.head_input(self.features, self.box_info)

    def losses(self, estimate: Tensor, names: Collection[str] | None) -> dict[str, Tensor]:
        """Three smooth losses of estimates (N, 157)."""
        away = estimate - self.goal
        functions = {
            "keypoints_2d": lambda: torch.sin(2 * away @ self.mix).square().sum(-1),
            "rotations": lambda: torch.tanh(away).square().sum(-1),
            "camera": lambda: torch.exp(-3 * estimate[:, -3]),
        }
        return {name: f() for name, f in functions.items() if names is None or name in names}

    def evaluate(
        self, estimate: Tensor, *, losses: Collection[str] | None, also: Collection[str] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        wanted = None if losses is None or also is None else {*losses, *also}

        def total(estimate: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            values = self.losses(estimate, wanted)
            counted = [v for name, v in values.items() if losses is None or name in losses]
            return torch.stack(counted).sum(), values

        gradient, values = torch.func.grad(total, has_aux=True)(estimate)
        return values, gradient

    @property
    def loss_function(self) -> LossFunction:
        """For `adapt`, of the only person."""

        def losses(
            parameters: Parameters, names: Collection[str] | None
        ) -> tuple[dict[str, Tensor], HeadOutput]:
            arguments = (self.features, self.box_info)
            output = torch.func.functional_call(self.head, parameters, arguments)
            values = self.losses(torch.cat(output, dim=1), names)
            return {name: value[0] for name, value in values.items()}, output

        return losses
