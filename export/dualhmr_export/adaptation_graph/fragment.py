"""A piece as an ONNX graph of its own."""

from typing import NamedTuple

import onnx
import torch

from dualhmr_export.adaptation_graph.pieces import Piece, PieceModule
from dualhmr_export.adaptation_graph.tidy import tidy
from dualhmr_export.onnx_files import quiet_exporter

OPSET = 18


class Fragment(NamedTuple):
    """A piece's graph."""

    graph: onnx.GraphProto
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    """What the outputs of `graph` are, in order."""


def fragment_of(piece: Piece, *, free: str | None = None) -> Fragment:
    """Traces `piece`; the first dimension of what it reads as `free` may be any."""
    with torch.no_grad():
        module = PieceModule(piece)
    shapes = tuple({0: torch.export.Dim.DYNAMIC} if name == free else None for name in module.reads)
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(piece.example.values()),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(module.reads),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    assert not model.functions
    tidy(model.graph)
    return Fragment(model.graph, module.reads, module.makes)
