"""From imported networks to a bundle whose graphs were compared with PyTorch."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch

from dualhmr.body.files import FREE_BODY, ExtraJoints
from dualhmr.body.model import Body, matching_body
from dualhmr.bundle import (
    ADAPTATION_GRAPH,
    ADAPTATION_START,
    ADAPTATION_STEPS,
    FROZEN_GRAPHS,
    FROZEN_WEIGHTS,
    Manifest,
    open_bundle,
)
from dualhmr.crop import crop_convention
from dualhmr.engines.frozen_network import DEFAULT_MAX_BATCH
from dualhmr.engines.opening import check_tensorrt_precision
from dualhmr.engines.tensorrt.library import Library, load_library
from dualhmr.files import sha256
from dualhmr_export.bundle_folder import drop_files
from dualhmr_export.checkpoints import Imported
from dualhmr_training.training_folder import read_record

if TYPE_CHECKING:
    from dualhmr_export.verify import ParityReport

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EngineTarget:
    """The GPU that TensorRT engines are built for; ImportError if no TensorRT is installed."""

    capability: str | None
    """Such as `sm86`; None is the GPU of this machine."""
    library: Library = field(default_factory=load_library)


class OutOfBoundsError(ValueError):
    """An exported graph differs too much from the network it was made of."""


def provenance_of(sources: Iterable[Path]) -> dict[str, str]:
    """By name: the sha256 of a file, the record (commit, configuration, data) of a training."""
    return {
        source.name: json.dumps(read_record(source)) if source.is_dir() else sha256(source)
        for source in sources
    }


def manifest_for(
    imported: Imported,
    *,
    name: str,
    description: str,
    provenance: dict[str, str],
    precision: str = "fp32",
    max_batch: int = DEFAULT_MAX_BATCH,
) -> Manifest:
    """The manifest of a bundle of these networks, without its files."""
    facts = imported.facts
    return Manifest(
        name=name,
        description=description,
        body=facts.body,
        main=imported.main_spec,
        auxiliary=imported.auxiliary_spec,
        image_size=crop_convention(facts.crop).size,
        crop=facts.crop,
        focal_length=facts.focal_length,
        shared_backbone=imported.auxiliary is imported.main,
        keypoint_set=facts.keypoint_set,
        camera=facts.camera,
        weights=facts.weights,
        schedule=facts.schedule,
        files={},
        provenance=provenance,
        precision=precision,
        max_batch=max_batch,
    )


def export(
    imported: Imported,
    manifest: Manifest,
    folder: Path,
    *,
    engines: EngineTarget | None = None,
    body: Body | None = None,
    extra_joints: ExtraJoints | None = None,
    schedule: str | None = None,
    step_graphs: bool = False,
    graphs_only: bool = False,
    stored: torch.dtype = torch.float32,
    photographs: Path | None = None,
    progress: Progress = lambda _message: None,
) -> "ParityReport":
    """Writes the bundle `folder`, with TensorRT engines if `engines` is given, and verifies it.

    `body` is the body that the networks regress. None is the free body; for networks of a licensed
    body, the bundle then has no `adaptation.onnx`. `extra_joints`, SPIN's, are copied into the
    bundle. `schedule` is that file's (None: the manifest's), `stored` the type of PyTorch's
    weights; for these and `step_graphs` see `write_bundle`. int8 is calibrated on the people of the
    folder `photographs`, or for None on rendered ones, as the manifest then says. With
    `graphs_only`, PyTorch's weights of the frozen networks are left out once they are compared.

    Nothing is left behind if anything raises: OutOfBoundsError with the report for a graph beyond
    `dualhmr_export.parity.BOUNDS`, ValueError for another body than the networks regress, and what
    `write_bundle`, `verify` and `prebuild` raise.
    """
    if engines is not None:
        from dualhmr.engines.tensorrt.cache import check_buildable  # needs filelock, platformdirs

        check_tensorrt_precision(manifest.precision)
        check_buildable(engines.library, engines.capability)
    # Bundles of PyTorch weights are written where the ONNX packages are not installed.
    from dualhmr_export.int8 import check_quantisable
    from dualhmr_export.verify import verify
    from dualhmr_export.write_bundle import write_bundle

    reports: list[ParityReport] = []

    def finish(staging: Path) -> None:
        progress("comparing the exported graphs with PyTorch")
        reports.append(verify(open_bundle(staging), body=body))
        if not reports[0].holds:
            raise OutOfBoundsError(f"the export is out of bounds, nothing was kept\n{reports[0]}")
        if graphs_only:
            drop_files(staging, FROZEN_WEIGHTS)
        if engines is not None:
            _build_engines(staging, manifest.max_batch or DEFAULT_MAX_BATCH, engines, progress)

    calibrated_on: dict[str, npt.NDArray[Any]] | None = None
    if manifest.precision == "int8":
        from dualhmr_export.calibration import calibration

        check_quantisable(manifest.main.backbone, manifest.auxiliary.backbone)
        progress("making crops of people to calibrate int8 on")
        calibrated_on, people = calibration(manifest, photographs)
        provenance = {**manifest.provenance, "calibration": people}
        manifest = replace(manifest, provenance=provenance)
    graph_body = _adaptation_body(manifest, body, extra_joints, progress)
    if step_graphs and graph_body is None:
        raise ValueError("step graphs hold arrays of the body: pass it (--body)")
    progress(f"exporting {imported.kind} to ONNX in {manifest.precision}")
    write_bundle(
        folder,
        imported.main,
        imported.auxiliary,
        manifest,
        body=graph_body,
        extra_joints=extra_joints,
        schedule=schedule,
        step_graphs=step_graphs,
        stored=stored,
        calibration=calibrated_on,
        finish=finish,
    )
    return reports[0]


def _adaptation_body(
    manifest: Manifest, body: Body | None, extra_joints: ExtraJoints | None, progress: Progress
) -> Body | None:
    if body is None and manifest.body != FREE_BODY:
        progress(
            f"the bundle is written without {ADAPTATION_GRAPH}, which holds arrays of the body "
            f"{manifest.body!r}; to include it, pass that body's file (--body), which is licensed "
            "and not part of dualhmr"
        )
        return None
    return matching_body(
        body,
        needed=manifest.body,
        networks=f"bundle {manifest.name!r}",
        extra_joints=extra_joints,
    )


def _build_engines(folder: Path, max_batch: int, engines: EngineTarget, progress: Progress) -> None:
    from dualhmr.engines.tensorrt.cache import prebuild  # needs filelock and platformdirs

    steps = [name for name in (ADAPTATION_START, *ADAPTATION_STEPS) if (folder / name).exists()]
    for graph in (*FROZEN_GRAPHS, *steps):
        progress(f"building a TensorRT engine of {graph}")
        prebuild(
            folder / graph,
            folder / "engines",
            max_batch=1 if graph in steps else max_batch,
            target=engines.capability,
            library=engines.library,
        )
