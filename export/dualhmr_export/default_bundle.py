"""Makes the default bundle from trained weights: `python -m dualhmr_export.default_bundle`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualhmr.keypoints import BODY_23
from dualhmr.losses import LossWeights
from dualhmr.manifest import Manifest, NetworkSpec, ScheduleDefaults
from dualhmr.networks import MeshRegressor
from dualhmr.plain_data import from_plain
from dualhmr.weights import load_weights
from dualhmr_export.write_bundle import write_bundle

DESCRIPTION = (
    "The networks that come with dualhmr. They read the 2D keypoints, not the image, and were "
    "trained on synthetic people of the free body."
)


def read_trained(folder: Path, role: str) -> tuple[NetworkSpec, MeshRegressor, dict[str, Any]]:
    """A network of `dualhmr_training.default_networks`: its spec, itself, its training record."""
    record = json.loads((folder / f"{role}.json").read_text(encoding="utf-8"))
    size = record["config"]["network"]
    spec = NetworkSpec(
        backbone="keypoint_trunk",
        backbone_options={
            "keypoint_count": len(BODY_23),
            "feature_count": size["feature_count"],
            "blocks": size["blocks"],
        },
        reads=("keypoints", "box_info"),
        hidden=size["hidden"],
        iterations=size["iterations"],
        head_reads_box_info=False,
    )
    network = spec.build()
    load_weights(network, folder / f"{role}.safetensors")
    return spec, network, record


def make(trained: Path, folder: Path, schedule: ScheduleDefaults) -> None:
    """Exports the networks in `trained` as a bundle into `folder`."""
    main_spec, main, main_record = read_trained(trained, "main")
    auxiliary_spec, auxiliary, auxiliary_record = read_trained(trained, "auxiliary")
    manifest = Manifest(
        name="default",
        description=DESCRIPTION,
        body=main_record["body"],
        main=main_spec,
        auxiliary=auxiliary_spec,
        image_size=(256, 192),
        keypoint_set=BODY_23.name,
        camera="cliff",
        weights=from_plain(LossWeights, main_record["config"]["weights"]),
        schedule=schedule,
        files={},
        provenance={
            "data": "synthetic people in poses of the CMU Graphics Lab Motion Capture Database",
            "main": json.dumps({key: main_record[key] for key in ("commit", "config")}),
            "auxiliary": json.dumps({key: auxiliary_record[key] for key in ("commit", "config")}),
        },
    )
    write_bundle(folder, main, auxiliary, manifest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and exports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trained", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, a new one")
    parser.add_argument("--adam-rate", type=float, default=2e-4)
    parser.add_argument("--descent-rate", type=float, default=1e-3)
    parser.add_argument("--tolerance", type=float, default=2e-5)
    options = parser.parse_args(arguments)
    schedule = ScheduleDefaults("paper", options.adam_rate, options.descent_rate, options.tolerance)
    make(options.trained, options.out, schedule)


if __name__ == "__main__":
    main()
