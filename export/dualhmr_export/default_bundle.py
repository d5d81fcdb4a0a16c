"""Makes the default bundle of what was trained: `python -m dualhmr_export.default_bundle`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.manifest import Manifest, NetworkSpec
from dualhmr.plain_data import from_plain
from dualhmr_export.write_bundle import write_bundle
from dualhmr_training.trained import network_facts, read_networks, read_record

DESCRIPTION = (
    "The networks that come with dualhmr. They read the 2D keypoints, not the image, and were "
    "trained on synthetic people of the free body."
)


def make(trained: Path, folder: Path, changes: Sequence[str] = ()) -> None:
    """Exports the networks that `dualhmr train demo` put into `trained` as a bundle, `folder`.

    `changes` are to what follows from the training: loss weights and rates of test time, see
    `network_facts`. Raises ValueError for a main network that was trained alone, and as reading and
    writing do.
    """
    record = read_record(trained)
    main, auxiliary = read_networks(trained, record)
    if auxiliary is None:
        raise ValueError(
            f"the main network in {trained} was trained alone; a bundle holds an auxiliary network "
            "too"
        )
    facts, config = network_facts(record, changes), record["config"]
    manifest = Manifest(
        name="default",
        description=DESCRIPTION,
        body=facts.body,
        main=from_plain(NetworkSpec, config["main"]),
        auxiliary=from_plain(NetworkSpec, config["auxiliary"]),
        image_size=(CROP_HEIGHT, CROP_WIDTH),
        keypoint_set=facts.keypoint_set,
        camera=facts.camera,
        weights=facts.weights,
        schedule=facts.schedule,
        files={},
        provenance={
            "data": "synthetic people in poses of the CMU Graphics Lab Motion Capture Database",
            "training": json.dumps(record),
        },
    )
    write_bundle(folder, main, auxiliary, manifest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and exports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trained", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, a new one")
    parser.epilog = "--schedule.adam_rate 1e-4, --weights.joints_3d 2 and the like change the rest."
    options, changes = parser.parse_known_args(arguments)
    make(options.trained, options.out, changes)


if __name__ == "__main__":
    main()
