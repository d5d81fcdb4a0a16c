"""Convolutional backbones in 8-bit integers, by ONNX Runtime's static quantisation.

Weights are 8-bit numbers with a scale for each channel. Activations are 8-bit numbers from 0 to 255
whose scale is fixed by the range that crops of people give (calibration). Both are written as pairs
of QuantizeLinear and DequantizeLinear around operations in float, which ONNX Runtime fuses into
operations on integers. Activations are unsigned, because its fast kernels on x86 are of unsigned
times signed numbers; TensorRT takes signed ones only.

The first and the last convolution and what lies between them are quantised: features, whatever
reads keypoints, and the head stay float32.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
from onnxruntime import quantization

QUANTISED_BACKBONES = ("resnet50", "hrnet_w48_concatenated", "hrnet_w48_classification")
_BETWEEN = ("Conv", "Relu", "Add", "MaxPool", "Concat", "Resize")
_BATCH = 8


def check_quantisable(*backbones: str) -> None:
    """Raises ValueError unless one of them is convolutional."""
    if not set(backbones) & set(QUANTISED_BACKBONES):
        raise ValueError(
            f"precision int8 is for convolutional backbones ({', '.join(QUANTISED_BACKBONES)}), "
            f"these networks have {' and '.join(dict.fromkeys(backbones))}; use fp32 or fp16"
        )


def quantise(path: Path, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Replaces an fp32 graph by its quantised version, calibrated on `inputs` (persons first)."""
    graph = onnx.load(path).graph
    convolutions = [i for i, node in enumerate(graph.node) if node.op_type == "Conv"]
    between = graph.node[convolutions[0] : convolutions[-1] + 1]
    with _quiet_quantiser():
        quantization.quantize_static(
            str(path),
            str(path),
            _Batches({each.name: inputs[each.name] for each in graph.input}),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=[node.name for node in between if node.op_type in _BETWEEN],
        )


class _Batches(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        count = len(next(iter(inputs.values())))
        self._batches = iter(
            {name: array[start : start + _BATCH] for name, array in inputs.items()}
            for start in range(0, count, _BATCH)
        )

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._batches, None)


@contextmanager
def _quiet_quantiser() -> Iterator[None]:
    """Silences advice, to the root logger, to optimise the graph: batch norms are folded here."""

    def none(_record: logging.LogRecord) -> bool:
        return False

    logging.getLogger().addFilter(none)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(none)
