"""Networks to ONNX files: batch norms folded, the backbone in a number type, PyTorch's exporter.

The graphs are strongly typed: TensorRT computes in the types that the graph says, and no builder
flag changes them. What a backbone does to its inputs runs in the chosen type. Image normalisation,
the regressor head, rotations, and every input and output stay float32: compared to the backbone
they cost nothing, and the head adds up small corrections.
"""

import copy
import logging
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
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

_MOST_BYTES = (1 << 31) - (1 << 26)
"""Of weights in one file: a protobuf message has less than 2 GB."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
OPSETS = {"fp32": 18, "fp16": 18, "bf16": 22}
"""Convolutions take bfloat16 from opset 22 on, which ONNX Runtime reads from 1.20 on."""


def in_precision(
    network: MeshRegressor, precision: str, example: Mapping[str, Tensor]
) -> MeshRegressor:
    """A copy of `network` for export: batch norms folded, the backbone computing in `precision`.

    `example` holds its inputs by name. Raises ValueError for a precision that is not in `DTYPES`.
    """
    if precision not in DTYPES:
        raise ValueError(f"unknown precision {precision!r}; known are {', '.join(DTYPES)}")
    folded = with_folded_norms(network.backbone, *network.backbone_inputs(example))
    backbone = _TypedBackbone(folded, DTYPES[precision])
    return MeshRegressor(backbone, copy.deepcopy(network.head)).eval()


class _TypedBackbone(Backbone):
    """A backbone with float32 inputs and outputs that computes in another type."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype) -> None:
        super().__init__()
        self.reads, self.feature_count = backbone.reads, backbone.feature_count
        self._dtype = dtype
        self._inner = backbone.to(dtype)

    def forward(self, *inputs: Tensor) -> Tensor:
        features: Tensor = self._inner(*(each.to(self._dtype) for each in inputs))
        return features.float()


def with_folded_norms(backbone: Backbone, *example: Tensor) -> Backbone:
    """A copy in evaluation mode in which batch norms are folded into the convolutions before them.

    Running the copy on `example`, its inputs, shows which norm reads which convolution. This is
    correct only if nothing else reads that convolution's output, as in residual networks. Folding
    happens in PyTorch, not in the exported graph, so that weights are rounded to another type once.
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
    """Names of convolutions and of the batch norms that read their outputs."""
    # Weak references: all maps of an HRNet at once are hundreds of megabytes.
    outputs: list[tuple[weakref.ref[Tensor], str]] = []
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def after(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                outputs.append((weakref.ref(output), name))
            else:
                pairs.extend((source, name) for maps, source in outputs if maps() is inputs[0])

        return module.register_forward_hook(after)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [watch(name, each) for name, each in modules.items() if isinstance(each, kinds)]
    with torch.no_grad():
        backbone(*example)
    for hook in hooks:
        hook.remove()
    return pairs


def export_onnx(
    module: nn.Module,
    example: dict[str, Tensor],
    outputs: tuple[str, ...],
    path: Path,
    *,
    opset: int,
    stored: torch.dtype = torch.float32,
) -> None:
    """Writes `module`, called with the values of `example` in order, to an ONNX file.

    Weights that one file cannot hold are written to another one beside it, `path` with `.data`.
    Otherwise, where `stored` is float16, weights that lose nothing by it are stored as such; the
    graph casts them to float32, which engines do once, when they load it.

    The keys of `example` name the inputs. The first dimension of inputs and outputs, the number of
    persons, stays dynamic. `example` holds two persons because the exporter specialises to 1.
    """
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    program = trace(module, example, shapes, opset=opset, outputs=outputs)
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    program.save(path, external_data=size > _MOST_BYTES)
    if stored == torch.float16 and size <= _MOST_BYTES:
        _store_in_half(path)


_FEW_NUMBERS = 64
"""Of a weight that is too small for a cast to pay."""


def _store_in_half(path: Path) -> None:
    model = onnx.load(path)
    graph, casts = model.graph, []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size > _FEW_NUMBERS and np.array_equal(half, values):
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def trace(
    module: nn.Module,
    example: Mapping[str, Tensor],
    shapes: tuple[Any, ...],
    *,
    opset: int,
    outputs: Sequence[str] | None = None,
) -> torch.onnx.ONNXProgram:
    """PyTorch's exporter on `module`, called with the values of `example` in order.

    `shapes` says which dimensions of each input stay dynamic. The graph does not say where on this
    computer PyTorch and the module's code are.
    """
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(example),
            output_names=outputs,
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    return program


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silences the exporter's remarks on torch's internals and on a missing torchvision."""
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
