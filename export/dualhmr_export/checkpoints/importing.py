"""Folders that `dualhmr train` left."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from dualhmr.bundle import NetworkSpec
from dualhmr.networks import MeshRegressor
from dualhmr.plain_data import from_plain
from dualhmr_export.checkpoints.layouts import Contents, ImportedNetwork
from dualhmr_export.checkpoints.releases import read_release
from dualhmr_training.training_folder import NetworkFacts, network_facts, read_networks, read_record


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


AnyPath = str | os.PathLike[str]
_COMMON = ("body", "camera", "keypoint_set")
"""Facts that two networks have to share to be a pair."""


@dataclass(frozen=True, eq=False)
class Imported:
    """A pair of networks, in evaluation mode, and what using them takes."""

    kind: str
    """For people: `Meta-HMR, CLIFF HRNet-W48`."""
    main: MeshRegressor
    auxiliary: MeshRegressor
    """The very `main` where there is only one network."""
    main_spec: NetworkSpec
    auxiliary_spec: NetworkSpec
    facts: NetworkFacts


def import_checkpoint(
    path: AnyPath, *, auxiliary: AnyPath | None = None, mean_params: AnyPath | None = None
) -> Imported:
    """The networks of a release's file, or of a folder that `dualhmr train` left.

    Where the checkpoint holds one network (CLIFF, SPIN, a main network trained alone) the main
    network of the checkpoint `auxiliary` becomes its auxiliary network; without that it is its
    own, and is adapted as in EFT by default, which uses no pseudo mesh. `mean_params` is SPIN's
    `smpl_mean_params.npz`, for files that do not hold where the head begins.

    Every tensor of a file is used, else it is an error. Raises FileNotFoundError; ValueError says
    what is wrong with which file.
    """
    path = Path(path)
    contents = _read(path, mean_params)
    other = None if auxiliary is None else _read(Path(auxiliary), mean_params)
    _check_arguments(path, contents, other, mean_params)
    facts = contents.facts
    if contents.auxiliary is None:
        name = "eft" if other is None else "paper"
        facts = replace(facts, schedule=replace(facts.schedule, name=name))
    second = other.main if other is not None else contents.auxiliary or contents.main
    return Imported(
        kind=contents.kind,
        main=contents.main.network,
        auxiliary=second.network,
        main_spec=contents.main.spec,
        auxiliary_spec=second.spec,
        facts=facts,
    )


def _read(path: Path, mean_params: AnyPath | None) -> Contents:
    return read_training_folder(path) if path.is_dir() else read_release(path, mean_params)


def _check_arguments(
    path: Path, contents: Contents, other: Contents | None, mean_params: AnyPath | None
) -> None:
    if other is not None:
        if contents.auxiliary is not None:
            raise ValueError(
                f"{path} ({contents.kind}) holds an auxiliary network; leave out auxiliary"
            )
        for name in _COMMON:
            ours, theirs = getattr(contents.facts, name), getattr(other.facts, name)
            if ours != theirs:
                raise ValueError(
                    f"{path} ({contents.kind}) cannot be adapted with this auxiliary network "
                    f"({other.kind}): its {name} is {ours}, the other's {theirs}"
                )
    known = [contents] if other is None else [contents, other]
    if mean_params is not None and not any(each.begins_with_mean_params for each in known):
        raise ValueError(
            f"{path} ({contents.kind}) holds where its head begins; leave out mean_params"
        )
