"""Export a training as the default bundle: `python -m dualhmr_export.default_bundle`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dualhmr.bundle import NetworkSpec
from dualhmr_export.checkpoints import import_checkpoint
from dualhmr_export.export import export, manifest_for
from dualhmr_training.training_folder import network_facts, read_record

_DESCRIPTION = (
    "The networks that come with dualhmr, trained on synthetic people of the free body. The main "
    "network reads {main}, the auxiliary one {auxiliary}."
)
DATA = (
    "synthetic people in poses of the CMU Graphics Lab Motion Capture Database, of free "
    "collections (Mesh2Motion, MakeHuman, ReActIdle) and made by rules"
)


def make(trained: Path, folder: Path, changes: Sequence[str] = ()) -> None:
    """Exports the networks that `dualhmr train demo` wrote to `trained` as the bundle `folder`.

    `changes` are options that replace facts that follow from the training, such as loss weights and
    learning rates of test time; see `network_facts`. Weights are rounded to half precision to keep
    the package small. Raises ValueError for a main network that was trained alone, and what reading
    and exporting raise.
    """
    record = read_record(trained)
    if record["config"]["auxiliary"] is None:
        raise ValueError(
            f"the main network in {trained} was trained alone; the default bundle also "
            "needs an auxiliary network"
        )
    imported = replace(import_checkpoint(trained), facts=network_facts(record, changes))
    provenance = {"data": DATA, "training": json.dumps(record)}
    description = _DESCRIPTION.format(
        main=_read(imported.main_spec), auxiliary=_read(imported.auxiliary_spec)
    )
    manifest = manifest_for(
        imported, name="default", description=description, provenance=provenance
    )
    print(export(imported, manifest, folder, stored=torch.float16))


def _read(spec: NetworkSpec) -> str:
    inputs = {"keypoints": "the 2D keypoints", "image": "the image"}
    return " and ".join(words for name, words in inputs.items() if name in spec.reads)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trained", type=Path, required=True, help="folder of the training")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.epilog = (
        "Further options replace facts: --schedule.adam_rate 1e-4, --weights.joints_3d 2, ..."
    )
    options, changes = parser.parse_known_args(arguments)
    make(options.trained, options.out, changes)


if __name__ == "__main__":
    main()
