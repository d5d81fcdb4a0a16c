"""An affine iterative head as six matrices.

A head reads what is given and does not change, c (G numbers), and its own estimate e (E numbers):

    h1 = W1g c + b1 + W1e e,    h2 = W2 h1 + b2,    e <- e + D h2 + bd,    n times from a start.

fc1 falls apart into what acts on c and what acts on e; a bias is one more column of weights, whose
input is 1; and all decoders are one matrix D, as they read the same hidden layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Parameters

Matrices = dict[str, Tensor]
"""By the names below, each (rows, columns), or (N, rows, columns) for N persons of their own."""

GIVEN = "given"
"""(H, G + 1): W1g and b1."""
FIRST, SECOND, DECODE = "first", "second", "decode"
"""(E, H), (H, H) and (E, H): the transpose of W1e, W2 and D; loops like long rows."""
SECOND_BIAS, DECODE_BIAS = "second_bias", "decode_bias"
"""(1, H) and (1, E): b2 and bd."""

DECODERS = ("decpose", "decshape", "deccam")
_LAYERS = ("fc1", "fc2")


@dataclass(frozen=True)
class AffineHead:
    """The head of a network, before it is adapted to anybody."""

    matrices: Matrices
    start: Tensor
    """(E,), the estimate before the first round."""
    iterations: int
    decoders: tuple[tuple[str, int], ...]
    """Names of the decoders, in the order of the estimate, and how many numbers each makes."""

    @staticmethod
    def from_parameters(
        parameters: Parameters,
        *,
        start: Tensor,
        iterations: int,
        decoders: Sequence[str] = DECODERS,
    ) -> "AffineHead":
        """From the parameters of linear layers `fc1`, `fc2` and `decoders`, whose order counts.

        fc1's last columns are those that read the estimate, of which `start` holds the E numbers.
        Raises ValueError for other parameters than those, sizes that do not fit each other, or
        fewer than one iteration.
        """
        if iterations < 1:
            raise ValueError(f"the head needs at least one iteration, got {iterations}")
        _check_names(parameters, decoders)
        # Copies, lest what is made of them later depends on what has become of the module.
        known = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        start = start.detach().clone().reshape(-1)
        decode = torch.cat([known[f"{name}.weight"] for name in decoders])
        given_count = known["fc1.weight"].shape[1] - len(start)
        if len(decode) != len(start) or given_count < 0:
            raise ValueError(
                f"the start has {len(start)} numbers, the decoders make {len(decode)}, and fc1 "
                f"reads {known['fc1.weight'].shape[1]}, the estimate included; they do not fit"
            )
        on_given, on_estimate = known["fc1.weight"].split([given_count, len(start)], dim=1)
        matrices = {
            GIVEN: torch.cat([on_given, known["fc1.bias"][:, None]], dim=1),
            FIRST: on_estimate.T.contiguous(),
            SECOND: known["fc2.weight"],
            SECOND_BIAS: known["fc2.bias"][None],
            DECODE: decode,
            DECODE_BIAS: torch.cat([known[f"{name}.bias"] for name in decoders])[None],
        }
        sizes = tuple((name, len(known[f"{name}.weight"])) for name in decoders)
        return AffineHead(matrices, start, iterations, sizes)

    @property
    def given_count(self) -> int:
        """G, how many numbers the head reads that no round changes."""
        return self.matrices[GIVEN].shape[1] - 1

    def check_given(self, given: Tensor) -> None:
        """Raises ValueError for a `given` other than (N, G) in the head's dtype on its device."""
        start, expected = self.start, self.given_count
        if given.dim() != 2 or given.shape[1] != expected:
            raise ValueError(f"given is {tuple(given.shape)}, expected (N, {expected})")
        if (given.dtype, given.device) != (start.dtype, start.device):
            raise ValueError(
                f"given is {given.dtype} on {given.device}, but the head is {start.dtype} on "
                f"{start.device}"
            )

    def parameters(self, matrices: Matrices) -> Parameters:
        """`matrices`, of this head adapted, as the parameters that a head is made from."""
        given, sizes = matrices[GIVEN], [size for _, size in self.decoders]
        parameters = {
            "fc1.weight": torch.cat([given[..., :-1], matrices[FIRST].mT], dim=-1),
            "fc1.bias": given[..., -1].contiguous(),
            "fc2.weight": matrices[SECOND],
            "fc2.bias": matrices[SECOND_BIAS].squeeze(-2),
        }
        weights = matrices[DECODE].split(sizes, dim=-2)
        biases = matrices[DECODE_BIAS].squeeze(-2).split(sizes, dim=-1)
        for (name, _), weight, bias in zip(self.decoders, weights, biases, strict=True):
            parameters |= {f"{name}.weight": weight, f"{name}.bias": bias}
        return parameters


def _check_names(parameters: Parameters, decoders: Sequence[str]) -> None:
    layers = [*_LAYERS, *decoders]
    expected = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    if set(parameters) != expected:
        raise ValueError(
            f"an affine head has the layers {', '.join(layers)}, each with weight and bias; "
            f"missing are {sorted(expected - set(parameters))}, "
            f"unexpected are {sorted(set(parameters) - expected)}"
        )
