"""The number types that exported networks compute in.

The graphs are strongly typed: TensorRT computes in the types that the graph says, and no builder
flag changes them. What a backbone does to its inputs runs in the chosen type. Image normalisation,
the regressor head, rotations, and every input and output stay float32: next to the backbone they
cost nothing, and the head adds up small corrections.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from dualhmr.networks import Backbone, MeshRegressor
from dualhmr_export.folding import with_folded_norms

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
OPSETS = {"fp32": 18, "fp16": 18, "bf16": 22}
"""ONNX convolutions know bfloat16 from opset 22 on; ONNX Runtime knows that one from 1.20 on."""


def in_precision(
    network: MeshRegressor, precision: str, example: Mapping[str, Tensor]
) -> MeshRegressor:
    """A copy of `network` for export: batch norms folded, its backbone computing in `precision`.

    `example` are its inputs by name. ValueError for an unknown precision.
    """
    if precision not in DTYPES:
        raise ValueError(f"unknown precision {precision!r}; known are {', '.join(DTYPES)}")
    folded = with_folded_norms(network.backbone, *network.backbone_inputs(example))
    backbone = _BackboneIn(folded, DTYPES[precision])
    return MeshRegressor(backbone, copy.deepcopy(network.head)).eval()


class _BackboneIn(Backbone):
    """A backbone that takes and gives float32, and computes in another type."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        self.reads, self.feature_count = backbone.reads, backbone.feature_count
        self._dtype = dtype
        self._inner = backbone.to(dtype)

    def forward(self, *inputs: Tensor) -> Tensor:
        features: Tensor = self._inner(*(each.to(self._dtype) for each in inputs))
        return features.float()
