"""One photograph of `dualhmr recover`, from its files to the files of its results."""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualhmr.body.files import FREE_BODY
from dualhmr.body.parameter_files import read_smpl_parameters
from dualhmr.body.parameters import SMPLParameters
from dualhmr.cli.photographs import Outcome, Photograph
from dualhmr.cli.report import lines, report
from dualhmr.cli.shared_options import schedule_options
from dualhmr.detection import NamedDetector
from dualhmr.outputs import PICTURES, write_outputs
from dualhmr.recoverer import FailedPhoto, Photo, Recoverer
from dualhmr.recovery import Recovery

_MESH_SUFFIXES = (".npz", ".pkl", ".npy")
_OTHER_BETAS = (
    f"betas of a pseudo mesh are taken for those of the bundle's body, {FREE_BODY}; SMPL's mean "
    "something else on it"
)


class Recovering:
    """The work on one photograph, which threads take turns at."""

    def __init__(
        self,
        photograph: Photograph,
        recoverer: Recoverer,
        detector: NamedDetector | None,
        options: argparse.Namespace,
    ) -> None:
        self._photograph, self._recoverer = photograph, recoverer
        self._detector, self._options = detector, options
        self._notes: tuple[str, ...] = ()

    def read(self) -> Photo:
        """Its files."""
        inputs, meshes = self._photograph.read(), None
        self._notes = inputs.notes
        if self._options.pseudo_mesh is not None:
            name = self._photograph.path or Path(self._photograph.name)
            meshes = _read_pseudo_meshes(self._options.pseudo_mesh, name)
            self._notes += (_OTHER_BETAS,) if self._recoverer.body.name == FREE_BODY else ()
        return Photo(
            inputs.pixels,
            inputs.keypoints,
            boxes=inputs.boxes,
            pseudo_mesh=meshes,
            focal_length=self._options.focal_length,
        )

    def alone(self) -> Outcome:
        """All of it, on all threads."""
        photo = self.read()
        recovery = self._recoverer.recover(
            photo.image,
            photo.keypoints,
            detector=self._detector,
            boxes=photo.boxes,
            pseudo_mesh=photo.pseudo_mesh,
            focal_length=photo.focal_length,
            **schedule_options(self._options),
        )
        return self._write(recovery, photo.image)

    def write(self, result: Recovery | FailedPhoto) -> Outcome:
        """Writes and describes a result. Raises the error of a photograph that failed.

        Pixels for pictures are read again: those of all photographs that wait would fill memory.
        """
        if isinstance(result, FailedPhoto):
            raise result.error
        drawn = any(each in PICTURES for each in chosen_outputs(self._options))
        return self._write(result, self._photograph.read().pixels if drawn else None)

    def _write(self, recovery: Recovery, pixels: npt.NDArray[np.uint8] | None) -> Outcome:
        written = write_outputs(
            recovery,
            pixels,
            self._photograph.out,
            chosen_outputs(self._options),
            title=self._photograph.name,
            color=self._options.color,
        )
        name = None if self._detector is None else self._detector.name
        said = (recovery, self._notes, written)
        return Outcome(report(*said, detector=name), [*lines(*said, detector=name)])


def _read_pseudo_meshes(place: Path, photograph: Path) -> list[SMPLParameters]:
    """The persons of a photograph in files of another network, `--pseudo-mesh`.

    A file is of frames by their names, or of one photograph.

    In a folder, photo.jpg has photo.jpg.npz or photo.npz, or .pkl or .npy. Raises
    FileNotFoundError, listing the names that were tried, and what `read_smpl_parameters` raises.
    """
    if place.is_dir():
        both = (photograph.name, photograph.stem)
        names = [f"{each}{suffix}" for each in both for suffix in _MESH_SUFFIXES]
        found = [place / name for name in names if (place / name).is_file()]
        if not found:
            raise FileNotFoundError(
                f"no pseudo mesh for {photograph.name} in {place}: no {', '.join(names)}"
            )
        return read_smpl_parameters(found[0])
    return read_smpl_parameters(place, frame=photograph.name)


def chosen_outputs(options: argparse.Namespace) -> list[str]:
    """Names of the files to write."""
    return [each for each in options.save if not (options.no_pictures and each in PICTURES)]
