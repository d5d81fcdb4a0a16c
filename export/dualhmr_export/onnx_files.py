"""Frozen networks to ONNX files, through torch's exporter."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


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
