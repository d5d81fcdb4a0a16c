"""An affine iterative head as matrices.

A head with hidden layers, HMR's, reads its input c (G numbers), which stays the same, and its own
estimate e (E numbers):

    h1 = W1g c + b1 + W1e e,    h2 = W2 h1 + b2,    e <- e + D h2 + bd,    n times from a start.

fc1 is split into the columns that act on c and those that act on e. Its bias is one more column,
whose input is 1. All decoders are one matrix D, as they read the same hidden layer.

Without hidden layers the decoders read c themselves, and there is nothing but the input's matrix:

    e <- e + D c + bd.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualhmr.adaptation.optimisers import Parameters

Matrices = dict[str, Tensor]
"""By the names below, each (rows, columns), or (N, rows, columns) for N persons of their own."""

ON_INPUT, FC1_ESTIMATE = "on_input", "fc1_estimate"
"""(H, G + 1): W1g and b1, or (E, G + 1): D and bd, where there are no hidden layers; and (E, H):
the transpose of W1e, as loops are fast over long rows."""
FC2, DECODE = "fc2", "decode"
"""(H, H) and (E, H): W2 and D."""
FC2_BIAS, DECODE_BIAS = "fc2_bias", "decode_bias"
"""(1, H) and (1, E): b2 and bd."""

DECODERS = ("decpose", "decshape", "deccam")
_LAYERS = ("fc1", "fc2")


@dataclass(frozen=True)
class AffineHead:
    """A network's head, before adaptation; the same for all persons."""

    matrices: Matrices
    start: Tensor
    """(E,), the estimate before the first iteration."""
    iterations: int
    decoders: tuple[tuple[str, int], ...]
    """Names of the decoders, in the order of the estimate, and the number of their outputs."""

    @staticmethod
    def from_parameters(
        parameters: Parameters,
        *,
        start: Tensor,
        iterations: int,
        decoders: Sequence[str] = DECODERS,
    ) -> "AffineHead":
        """From the parameters of linear layers `fc1`, `fc2` and `decoders`, in estimate order.

        Without hidden layers they are those of `decoders` alone. fc1's last E columns read the
        estimate; `start` is the estimate before the first iteration, E numbers in any shape. Raises
        ValueError for missing or unexpected parameters, sizes that do not fit each other, or fewer
        than one iteration.
        """
        if iterations < 1:
            raise ValueError(f"the head needs at least one iteration, got {iterations}")
        _check_names(parameters, decoders)
        # Copies, so that a module that changes later does not change this head.
        weights = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        start = start.detach().clone().reshape(-1)
        decode = torch.cat([weights[f"{name}.weight"] for name in decoders])
        decode_bias = torch.cat([weights[f"{name}.bias"] for name in decoders])
        sizes = tuple((name, len(weights[f"{name}.weight"])) for name in decoders)
        if "fc1.weight" not in weights:
            _check_estimate(start, decode)
            on_input = torch.cat([decode, decode_bias[:, None]], dim=1)
            return AffineHead({ON_INPUT: on_input}, start, iterations, sizes)
        input_count = weights["fc1.weight"].shape[1] - len(start)
        if len(decode) != len(start) or input_count < 0:
            raise ValueError(
                f"the start has {len(start)} numbers, the decoders make {len(decode)}, and fc1 "
                f"reads {weights['fc1.weight'].shape[1]}, the estimate included; they do not fit"
            )
        on_input, on_estimate = weights["fc1.weight"].split([input_count, len(start)], dim=1)
        matrices = {
            ON_INPUT: torch.cat([on_input, weights["fc1.bias"][:, None]], dim=1),
            FC1_ESTIMATE: on_estimate.T.contiguous(),
            FC2: weights["fc2.weight"],
            FC2_BIAS: weights["fc2.bias"][None],
            DECODE: decode,
            DECODE_BIAS: decode_bias[None],
        }
        return AffineHead(matrices, start, iterations, sizes)

    @property
    def has_hidden_layers(self) -> bool:
        """Whether the decoders read hidden layers; otherwise they read the head's input."""
        return FC2 in self.matrices

    @property
    def input_count(self) -> int:
        """G, how many numbers the head reads beside its estimate."""
        return self.matrices[ON_INPUT].shape[1] - 1

    def check_input(self, head_input: Tensor) -> None:
        """Raises ValueError for an input other than (N, G) in the head's dtype on its device."""
        start, expected = self.start, self.input_count
        if head_input.dim() != 2 or head_input.shape[1] != expected:
            raise ValueError(
                f"the head's input is {tuple(head_input.shape)}, expected (N, {expected})"
            )
        if (head_input.dtype, head_input.device) != (start.dtype, start.device):
            raise ValueError(
                f"the head's input is {head_input.dtype} on {head_input.device}, but the head is "
                f"{start.dtype} on {start.device}"
            )

    def parameters(self, matrices: Matrices) -> Parameters:
        """Matrices of this head as parameters of its layers: the reverse of `from_parameters`."""
        on_input, sizes = matrices[ON_INPUT], [size for _, size in self.decoders]
        parameters: Parameters = {}
        if self.has_hidden_layers:
            parameters = {
                "fc1.weight": torch.cat([on_input[..., :-1], matrices[FC1_ESTIMATE].mT], dim=-1),
                "fc1.bias": on_input[..., -1].contiguous(),
                "fc2.weight": matrices[FC2],
                "fc2.bias": matrices[FC2_BIAS].squeeze(-2),
            }
            decode, bias = matrices[DECODE], matrices[DECODE_BIAS].squeeze(-2)
        else:
            decode, bias = on_input[..., :-1].contiguous(), on_input[..., -1].contiguous()
        weights, biases = decode.split(sizes, dim=-2), bias.split(sizes, dim=-1)
        for (name, _), weight, bias in zip(self.decoders, weights, biases, strict=True):
            parameters |= {f"{name}.weight": weight, f"{name}.bias": bias}
        return parameters


def _check_estimate(start: Tensor, decode: Tensor) -> None:
    if len(decode) != len(start):
        raise ValueError(
            f"the start has {len(start)} numbers, the decoders make {len(decode)}; they do not fit"
        )


def _check_names(parameters: Parameters, decoders: Sequence[str]) -> None:
    has_hidden_layers = any(name.partition(".")[0] not in decoders for name in parameters)
    layers = [*(_LAYERS if has_hidden_layers else ()), *decoders]
    expected = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    if set(parameters) != expected:
        raise ValueError(
            f"an affine head has the layers {', '.join(layers)}, each with weight and bias; "
            f"missing are {sorted(expected - set(parameters))}, "
            f"unexpected are {sorted(set(parameters) - expected)}"
        )
