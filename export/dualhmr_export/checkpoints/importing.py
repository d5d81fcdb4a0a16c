"""A checkpoint, or two, to a pair of networks: the main one and the auxiliary one."""

from dataclasses import dataclass, replace
from pathlib import Path

from dualhmr.bundle import NetworkSpec
from dualhmr.crop import crop_convention
from dualhmr.networks import MeshRegressor
from dualhmr.plain_data import from_plain
from dualhmr_export.checkpoints.architectures import Contents, ImportedNetwork
from dualhmr_export.checkpoints.releases import read_release
from dualhmr_export.checkpoints.torch_files import AnyPath
from dualhmr_training.training_folder import NetworkFacts, network_facts, read_networks, read_record

_SHARED_FACTS = ("body", "camera", "keypoint_set")
"""What two networks have to agree on to be a pair, besides the size of their crops.

Both see crops by the main network's convention: an auxiliary network of another release is off by
as much as its own crops differ from these.
"""


@dataclass(frozen=True, eq=False)
class Imported:
    """A pair of networks in evaluation mode, and the facts that adapting them needs."""

    kind: str
    """A title to show, such as `Meta-HMR, CLIFF HRNet-W48`."""
    main: MeshRegressor
    auxiliary: MeshRegressor
    """The same object as `main` if there is only one network."""
    main_spec: NetworkSpec
    auxiliary_spec: NetworkSpec
    facts: NetworkFacts


def import_checkpoint(
    path: AnyPath, *, auxiliary: AnyPath | None = None, mean_params: AnyPath | None = None
) -> Imported:
    """Reads the networks of a release's file, or of a folder that `dualhmr train` wrote.

    Some checkpoints hold one network (CLIFF, SPIN, a main network trained alone). Then the main
    network of the checkpoint `auxiliary` is the auxiliary network. Without `auxiliary`, the network
    is its own auxiliary and the default schedule is EFT's, which does not use a pseudo mesh.
    `mean_params` is SPIN's `smpl_mean_params.npz`, for files that lack the head's initial estimate.

    Every tensor in a file has to be used. Raises FileNotFoundError, and ValueError that names the
    file and says what is wrong with it.
    """
    path = Path(path)
    contents = _read(path, mean_params)
    other = None if auxiliary is None else _read(Path(auxiliary), mean_params)
    _check_arguments(path, contents, other, mean_params)
    facts = contents.facts
    if contents.auxiliary is None:
        schedule = replace(facts.schedule, name="eft" if other is None else "paper")
        facts = replace(facts, schedule=schedule)
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
    return _read_training_folder(path) if path.is_dir() else read_release(path, mean_params)


def _read_training_folder(folder: Path) -> Contents:
    record = read_record(folder)
    config = record["config"]
    main, auxiliary = read_networks(folder, record)
    return Contents(
        kind=f"dualhmr training, {config['main']['backbone']}",
        main=ImportedNetwork(main, from_plain(NetworkSpec, config["main"])),
        auxiliary=None
        if auxiliary is None
        else ImportedNetwork(auxiliary, from_plain(NetworkSpec, config["auxiliary"])),
        facts=network_facts(record),
    )


def _check_arguments(
    path: Path, contents: Contents, other: Contents | None, mean_params: AnyPath | None
) -> None:
    if other is not None:
        if contents.auxiliary is not None:
            raise ValueError(
                f"{path} ({contents.kind}) holds an auxiliary network; leave out auxiliary"
            )
        for name in _SHARED_FACTS:
            ours, theirs = getattr(contents.facts, name), getattr(other.facts, name)
            if ours != theirs:
                raise ValueError(
                    f"{path} ({contents.kind}) cannot be adapted with this auxiliary network "
                    f"({other.kind}): its {name} is {ours}, the other's {theirs}"
                )
        sizes = [crop_convention(each.facts.crop).size for each in (contents, other)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"{path} ({contents.kind}) cannot be adapted with this auxiliary network "
                f"({other.kind}): it sees crops of {sizes[0].width}x{sizes[0].height} pixels, the "
                f"other of {sizes[1].width}x{sizes[1].height}"
            )
    used = contents.used_mean_params or (other is not None and other.used_mean_params)
    if mean_params is not None and not used:
        raise ValueError(
            f"{path} ({contents.kind}) holds the head's initial estimate; leave out mean_params"
        )
