"""ONNX graphs into TensorRT's networks, with errors that say what is wrong."""

from typing import Any

from dualhmr.engines.tensorrt.library import Library
from dualhmr.engines.tensorrt.messages import logger_of


def parse_onnx(onnx: bytes, network: Any, library: Library) -> None:
    """Adds the content of an ONNX file to an empty network.

    Raises ValueError, which names the nodes that TensorRT cannot run, or says that the content is
    damaged.
    """
    parser = library.module.OnnxParser(network, logger_of(library.module))
    understood = parser.parse(onnx)
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = "; ".join(_described(error) for error in errors)
    who = f"{library.name} {library.version}"
    if not understood and any(error.node_operator() for error in errors):
        raise ValueError(f"{who} cannot run the ONNX graph: {reasons}")
    # It takes an empty file, and some damaged ones, for a network without inputs and outputs.
    if not understood or network.num_inputs == 0 or network.num_outputs == 0:
        raise ValueError(
            f"{who} cannot read the ONNX graph, of {len(onnx)} bytes; it is truncated, damaged or "
            f"no ONNX file: {reasons or 'it holds no network'}"
        )


def _described(error: Any) -> str:
    operator = error.node_operator()
    node = f"node {error.node_name()!r} ({operator}): " if operator else ""
    return f"{node}{error.desc()}"
