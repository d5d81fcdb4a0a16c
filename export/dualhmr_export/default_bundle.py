"""Makes the default bundle of what was trained: `python -m dualhmr_export.default_bundle`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
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


def read_record(trained: Path) -> dict[str, Any]:
    """What `dualhmr train` noted of a training: commit, configuration, body, poses.

    Raises FileNotFoundError, or ValueError for a damaged file.
    """
    path = trained / "training.json"
    if not path.is_file():
        raise FileNotFoundError(f"{trained} holds no finished training: there is no {path.name}")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return record


def read_network(trained: Path, record: dict[str, Any], role: str) -> MeshRegressor:
    """The trained network `role`, "main" or "auxiliary"."""
    network = from_plain(NetworkSpec, record["config"][role]).build()
    load_weights(network, trained / f"{role}.safetensors")
    return network


def make(trained: Path, folder: Path, schedule: ScheduleDefaults) -> None:
    """Exports the networks that `dualhmr train demo` put into `trained` as a bundle, `folder`."""
    record = read_record(trained)
    config = record["config"]
    manifest = Manifest(
        name="default",
        description=DESCRIPTION,
        body=record["body"],
        main=from_plain(NetworkSpec, config["main"]),
        auxiliary=from_plain(NetworkSpec, config["auxiliary"]),
        image_size=(CROP_HEIGHT, CROP_WIDTH),
        keypoint_set=BODY_23.name,
        camera="cliff",
        weights=from_plain(LossWeights, config["weights"]),
        schedule=schedule,
        files={},
        provenance={
            "data": "synthetic people in poses of the CMU Graphics Lab Motion Capture Database",
            "training": json.dumps(record),
        },
    )
    main, auxiliary = (read_network(trained, record, role) for role in ("main", "auxiliary"))
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
