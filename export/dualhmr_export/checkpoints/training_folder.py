"""Folders that `dualhmr train` left."""

from pathlib import Path

from dualhmr.manifest import NetworkSpec
from dualhmr.plain_data import from_plain
from dualhmr_export.checkpoints.contents import Contents, ImportedNetwork
from dualhmr_training.trained import network_facts, read_networks, read_record


def read_training_folder(folder: Path) -> Contents:
    """The networks in `folder`; raises as `read_record` and `read_networks` do."""
    record = read_record(folder)
    config = record["config"]
    main, auxiliary = read_networks(folder, record)
    main_spec = from_plain(NetworkSpec, config["main"])
    return Contents(
        kind=f"dualhmr training, {main_spec.backbone}",
        main=ImportedNetwork(main, main_spec),
        auxiliary=None
        if auxiliary is None
        else ImportedNetwork(auxiliary, from_plain(NetworkSpec, config["auxiliary"])),
        facts=network_facts(record),
    )
