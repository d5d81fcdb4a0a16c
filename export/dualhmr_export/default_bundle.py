"""Makes the default bundle of what was trained: `python -m dualhmr_export.default_bundle`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dualhmr_export.checkpoints import import_checkpoint
from dualhmr_export.export import export, manifest_for
from dualhmr_training.training_folder import network_facts, read_record

DESCRIPTION = (
    "The networks that come with dualhmr. They read the 2D keypoints, not the image, and were "
    "trained on synthetic people of the free body."
)
DATA = "synthetic people in poses of the CMU Graphics Lab Motion Capture Database"


def make(trained: Path, folder: Path, changes: Sequence[str] = ()) -> None:
    """Exports the networks that `dualhmr train demo` put into `trained` as a bundle, `folder`.

    `changes` are to what follows from the training: loss weights and rates of test time, see
    `network_facts`. Weights are rounded to half precision, to keep the package small. Raises
    ValueError for a main network that was trained alone, and as reading and exporting do.
    """
    record = read_record(trained)
    if record["config"]["auxiliary"] is None:
        raise ValueError(
            f"the main network in {trained} was trained alone; the default bundle holds an "
            "auxiliary network of its own too"
        )
    imported = replace(import_checkpoint(trained), facts=network_facts(record, changes))
    provenance = {"data": DATA, "training": json.dumps(record)}
    manifest = manifest_for(
        imported, name="default", description=DESCRIPTION, provenance=provenance
    )
    print(export(imported, manifest, folder, stored=torch.float16))


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
