"""Frozen networks as ONNX files, in the number types that exported networks compute in."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dualhmr.networks import Backbone, MeshRegressor

# The number types that exported networks compute in.
#
# The graphs are strongly typed: TensorRT computes in the types that the graph says, and no builder
# flag changes them. What a backbone does to its inputs runs in the chosen type. Image
# normalisation, the regressor head, rotations, and every input and output stay float32: next to the
# backbone they cost nothing, and the head adds up small corrections.


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


def with_folded_norms(backbone: Backbone, *example: Tensor) -> Backbone:
    """A copy in evaluation mode, without the batch norms that follow a convolution.

    Which follow one is seen by running it on `example`, its inputs. A convolution whose output
    somebody else reads too must not precede a norm; in residual networks none does. In PyTorch
    rather than in the exported graph: what is folded before weights are rounded to another type is
    rounded once.
    """
    folded = copy.deepcopy(backbone).eval()
    modules = dict(folded.named_modules())
    for convolution, norm in _pairs(folded, modules, example):
        pair = modules[convolution], modules[norm]
        folded.set_submodule(convolution, fuse_conv_bn_eval(*pair))
        folded.set_submodule(norm, nn.Identity())
    return folded


def _pairs(
    backbone: Backbone, modules: dict[str, nn.Module], example: tuple[Tensor, ...]
) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch norms that read what they put out."""
    made: list[tuple[Tensor, str]] = []
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def after(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                made.append((output, name))
            else:
                pairs.extend((maker, name) for maps, maker in made if maps is inputs[0])

        return module.register_forward_hook(after)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [watch(name, each) for name, each in modules.items() if isinstance(each, kinds)]
    with torch.no_grad():
        backbone(*example)
    for hook in hooks:
        hook.remove()
    return pairs


# A bfloat16 graph as a float32 one that rounds as it does, for engines without bfloat16.
#
# ONNX Runtime's CPU provider has no bfloat16 convolution. With the graph's own weights, and every
# result rounded to bfloat16 where the graph computes in it, float32 arithmetic gives what an engine
# gives that adds up in float32, as GPUs do.


def rounding_in_float32(path: Path) -> bytes:
    """The ONNX file in `path` rewritten, serialised; without bfloat16 but for the roundings."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    rounded = {each.name for each in graph.value_info if _is_bfloat16(each)}
    for weights in graph.initializer:
        if weights.data_type == TensorProto.BFLOAT16:
            exact = numpy_helper.to_array(weights).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(exact, weights.name))
    nodes = []
    for node in graph.node:
        _cast_to_float32(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in rounded:
                node.output[index] = f"{name}_exact"
                nodes += _rounding(f"{name}_exact", name)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def _is_bfloat16(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.BFLOAT16


def _cast_to_float32(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.BFLOAT16:
            attribute.i = TensorProto.FLOAT


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    middle = f"{target}_bfloat16"
    return [
        helper.make_node("Cast", [source], [middle], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", [middle], [target], to=TensorProto.FLOAT),
    ]


def export_onnx(
    module: nn.Module,
    example: dict[str, Tensor],
    outputs: tuple[str, ...],
    path: Path,
    *,
    opset: int,
) -> None:
    """Writes `module`, called with the values of `example` in order, to one ONNX file.

    Inputs are named by `example`'s keys; their first dimension, and the outputs', is the number of
    persons and stays free. `example` holds two persons, so that nothing is specialised to one.
    """
    shapes: tuple[Any, ...] = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    with quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(example),
            output_names=list(outputs),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silences what the exporter says of torch's own insides, and of torchvision's absence."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
