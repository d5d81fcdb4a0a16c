"""`--pseudo-mesh`: the bodies that another network found in a photograph, from its result files."""

from pathlib import Path

from dualhmr.body.files import FREE_BODY
from dualhmr.body.parameter_files import read_smpl_parameters
from dualhmr.body.parameters import SMPLParameters

_SUFFIXES = (".npz", ".pkl", ".npy")
OTHER_BETAS = (
    f"betas of a pseudo mesh are taken for those of the bundle's body, {FREE_BODY}; SMPL's mean "
    "something else on it"
)


def read_pseudo_meshes(place: Path, photograph: Path) -> list[SMPLParameters]:
    """The persons of a photograph, from a file, of frames by their names, or of one photograph.

    In a folder, photo.jpg has photo.jpg.npz or photo.npz, or .pkl or .npy. Raises
    FileNotFoundError, listing the names that were tried, and what `read_smpl_parameters` raises.
    """
    if place.is_dir():
        names = [
            f"{each}{suffix}" for each in (photograph.name, photograph.stem) for suffix in _SUFFIXES
        ]
        found = [place / name for name in names if (place / name).is_file()]
        if not found:
            raise FileNotFoundError(
                f"no pseudo mesh for {photograph.name} in {place}: no {', '.join(names)}"
            )
        return read_smpl_parameters(found[0])
    return read_smpl_parameters(place, frame=photograph.name)
