"""From imported networks to a bundle that was compared with them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from dualhmr.body.files import FREE_BODY
from dualhmr.body.model import Body, matching_body
from dualhmr.bundle import ADAPTATION_GRAPH, FROZEN_GRAPHS, Manifest, open_bundle
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.engines.frozen_network import DEFAULT_MAX_BATCH
from dualhmr.engines.tensorrt.library import Library, load_library
from dualhmr_export.checkpoints import Imported
from dualhmr_export.verify import ParityReport, verify
from dualhmr_export.write_bundle import write_bundle

Progress = Callable[[str], None]


@dataclass(frozen=True)
class EngineTarget:
    """For which GPU TensorRT engines are built, and with which TensorRT."""

    library: Library
    capability: str | None
    """`sm86`; None is the GPU of this machine."""


def tensorrt_target(capability: str | None) -> EngineTarget:
    """With the TensorRT that is installed; ImportError where none is."""
    return EngineTarget(load_library(), capability)


class OutOfBoundsError(ValueError):
    """An exported graph is too far from the network it was made of."""


def manifest_for(
    imported: Imported,
    *,
    name: str,
    description: str,
    provenance: dict[str, str],
    precision: str = "fp32",
    max_batch: int = DEFAULT_MAX_BATCH,
) -> Manifest:
    """What a bundle of these networks says of itself, but for its files."""
    facts = imported.facts
    return Manifest(
        name=name,
        description=description,
        body=facts.body,
        main=imported.main_spec,
        auxiliary=imported.auxiliary_spec,
        image_size=(CROP_HEIGHT, CROP_WIDTH),
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
    schedule: str | None = None,
    stored: torch.dtype = torch.float32,
    progress: Progress = lambda _message: None,
) -> ParityReport:
    """Writes the bundle `folder`, with TensorRT engines where asked for, and compares its graphs.

    `body` is the one that the networks regress; None is the free one, or for networks of a licensed
    one, a bundle without `adaptation.onnx`. `schedule` is this file's (None: the manifest's).

    All or nothing: raises OutOfBoundsError with the report where a graph is further off than
    `dualhmr_export.parity.BOUNDS` allow, and as `write_bundle`, `verify` and `prebuild` do, and
    then there is no folder; ValueError for a body that is not of the networks' kind.
    """
    reports: list[ParityReport] = []

    def finish(staging: Path) -> None:
        progress("comparing the exported graphs with PyTorch")
        reports.append(verify(open_bundle(staging), body=body))
        if not reports[0].holds:
            raise OutOfBoundsError(f"the export is out of bounds, nothing was kept\n{reports[0]}")
        if engines is not None:
            _build_engines(staging, manifest.max_batch or DEFAULT_MAX_BATCH, engines, progress)

    fitting = _body_for(manifest, body, progress)
    progress(f"exporting {imported.kind} to ONNX in {manifest.precision}")
    write_bundle(
        folder,
        imported.main,
        imported.auxiliary,
        manifest,
        body=fitting,
        schedule=schedule,
        stored=stored,
        finish=finish,
    )
    return reports[0]


def _body_for(manifest: Manifest, body: Body | None, progress: Progress) -> Body | None:
    if body is None and manifest.body != FREE_BODY:
        progress(
            f"the bundle comes without {ADAPTATION_GRAPH}: that holds arrays of the body "
            f"{manifest.body!r}, which does not come with dualhmr; to have it, pass the file that "
            "you downloaded (--body)"
        )
        return None
    return matching_body(body, needed=manifest.body, networks=f"bundle {manifest.name!r}")


def _build_engines(folder: Path, max_batch: int, engines: EngineTarget, progress: Progress) -> None:
    from dualhmr.engines.tensorrt.cache import prebuild  # needs packages of the extra "tensorrt"

    for graph in FROZEN_GRAPHS:
        progress(f"building a TensorRT engine of {graph}")
        prebuild(
            folder / graph,
            folder / "engines",
            max_batch=max_batch,
            target=engines.capability,
            library=engines.library,
        )
