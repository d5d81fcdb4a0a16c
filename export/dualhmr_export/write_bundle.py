"""Write a bundle: the folder of ONNX graphs, weights and manifest that the SDK opens."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import torch
from onnx import helper
from torch import Tensor

from dualhmr.body.files import ExtraJoints
from dualhmr.body.model import Body
from dualhmr.bundle import ADAPTATION_GRAPH, ADAPTATION_START, ADAPTATION_STEPS, Manifest
from dualhmr.keypoints import network_keypoints
from dualhmr.networks import MeshRegressor, RegressorHead
from dualhmr.networks.regressor import (
    AUXILIARY_OUTPUTS,
    BACKBONE_OUTPUTS,
    FrozenAuxiliary,
    FrozenBackbone,
    FrozenHead,
)
from dualhmr_export.adaptation_graph import GraphProblem, TracedProblem, adaptation_graph
from dualhmr_export.adaptation_graph.build import MAX_STEPS_INPUT, start_graph, step_graph
from dualhmr_export.bundle_folder import new_bundle, save_networks
from dualhmr_export.int8 import QUANTISED_BACKBONES, check_quantisable, quantise
from dualhmr_export.onnx_files import OPSETS, export_onnx, in_precision


def write_bundle(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    *,
    body: Body | None = None,
    extra_joints: ExtraJoints | None = None,
    schedule: str | None = None,
    step_graphs: bool = False,
    stored: torch.dtype = torch.float32,
    calibration: Mapping[str, npt.NDArray[Any]] | None = None,
    finish: Callable[[Path], None] = lambda _folder: None,
) -> None:
    """Exports both networks into `folder`, a new one.

    With `manifest.shared_backbone`, of `auxiliary` only the head is written.

    The backbones of the ONNX files compute in `manifest.precision`. Weights are stored as `stored`,
    PyTorch's and, for float16, those in the graphs of the frozen networks. For another type than
    float32, the networks are rounded to it first, in place, so that all engines compute with the
    same numbers. `manifest` is complete except for the files' hashes. `calibration`, inputs by
    name, is for precision int8 alone.

    With the `body` that the networks regress, the bundle has `adaptation.onnx`, which adapts by the
    schedule of that name (None: the manifest's own); with `step_graphs` also the graphs of single
    steps, which TensorRT adapts by.

    `extra_joints`, SPIN's, are copied into the bundle, for bodies of whoever opens it.

    `finish` is called with the complete folder, under a temporary name; it may add files or raise.
    Nothing is left behind if anything raises. Raises FileExistsError, and ValueError for int8
    without a calibration or a convolutional backbone.
    """
    if manifest.precision == "int8":
        check_quantisable(manifest.main.backbone, manifest.auxiliary.backbone)
        if calibration is None:
            raise ValueError("precision int8 needs the inputs of people as `calibration`")
    with new_bundle(folder, manifest, extra_joints=extra_joints, finish=finish) as staging:
        save_networks(staging, main, auxiliary, manifest, stored=stored)
        _write_graphs(staging, main, auxiliary, manifest, stored=stored)
        if manifest.precision == "int8" and calibration is not None:
            _quantise_graphs(staging, manifest, calibration)
        if body is not None:
            write_adaptation_graph(
                staging / ADAPTATION_GRAPH,
                main.head,
                manifest,
                body,
                schedule=schedule,
                steps=step_graphs,
            )


def _write_graphs(
    folder: Path,
    main: MeshRegressor,
    auxiliary: MeshRegressor,
    manifest: Manifest,
    *,
    stored: torch.dtype,
) -> None:
    example = example_inputs(manifest)
    example["features"] = torch.zeros(2, main.backbone.feature_count)
    precision = manifest.precision
    if precision == "int8":  # of the graphs as they are now written
        precision, stored = "fp32", torch.float32

    def typed(network: MeshRegressor) -> MeshRegressor:
        return in_precision(network, precision, example)

    def write_onnx(
        frozen: FrozenBackbone | FrozenAuxiliary | FrozenHead, outputs: tuple[str, ...], file: str
    ) -> None:
        inputs = {name: example[name] for name in frozen.reads}
        opset = OPSETS[precision]
        export_onnx(frozen, inputs, outputs, folder / file, opset=opset, stored=stored)

    # One after the other, so that only one copy of a network is in memory.
    write_onnx(FrozenBackbone(typed(main)), BACKBONE_OUTPUTS, "backbone.onnx")
    shared = manifest.shared_backbone
    frozen = FrozenHead(auxiliary.head) if shared else FrozenAuxiliary(typed(auxiliary))
    write_onnx(frozen, AUXILIARY_OUTPUTS, "auxiliary.onnx")


def _quantise_graphs(
    folder: Path, manifest: Manifest, calibration: Mapping[str, npt.NDArray[Any]]
) -> None:
    if manifest.main.backbone in QUANTISED_BACKBONES:
        quantise(folder / "backbone.onnx", calibration)
    if manifest.auxiliary.backbone in QUANTISED_BACKBONES and not manifest.shared_backbone:
        quantise(folder / "auxiliary.onnx", calibration)


def write_adaptation_graph(
    path: Path,
    head: RegressorHead,
    manifest: Manifest,
    body: Body,
    *,
    schedule: str | None = None,
    steps: bool = False,
) -> None:
    """Writes the graph of a bundle's main network, `head`, by the schedule of that name.

    None is the manifest's own. With `steps`, `ADAPTATION_START` and one of `ADAPTATION_STEPS` for
    each phase are written beside it. Raises ValueError for an unknown schedule, and for a body
    without a definition of its keypoints.
    """
    named = manifest.schedule.schedule(schedule, weights=manifest.weights)
    problem = GraphProblem.of(head, manifest, body, named)
    traced = TracedProblem(problem)
    models = {path.name: adaptation_graph(traced)}
    if steps:
        models[ADAPTATION_START] = start_graph(problem)
        phases = range(len(named.phases))
        models |= {ADAPTATION_STEPS[phase]: step_graph(traced, phase) for phase in phases}
    facts = {
        "keypoints": ",".join(problem.keypoints),
        "schedule": named.name,
        "stop_rule": named.stop_rule,
        MAX_STEPS_INPUT: str(named.max_steps),
        "tolerance": str(named.tolerance),
        "camera": manifest.camera,
        "body": body.name,
    }
    for name, model in models.items():
        helper.set_model_props(model, facts)
        onnx.save(model, path.with_name(name))


def example_inputs(manifest: Manifest) -> dict[str, Tensor]:
    """Every input that networks read, by name, for two persons."""
    keypoints = len(network_keypoints(manifest.keypoint_set).set)
    return {
        "image": torch.zeros(2, *manifest.image_size, 3, dtype=torch.uint8),
        "keypoints": torch.full((2, keypoints, 3), 0.5),
        "box_info": torch.zeros(2, 3),
    }
