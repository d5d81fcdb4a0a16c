"""A bundle: the folder that holds a pair of networks ready to run.

Export writes it, the SDK reads it:

manifest.json          what the networks are, and the sha256 of every other file
backbone.onnx          the main network's backbone
auxiliary.onnx         the whole auxiliary network
head.safetensors       the main network's head, which is adapted
backbone.safetensors   optional: weights for running or adapting the backbone in PyTorch
auxiliary.safetensors  optional: likewise
adaptation.onnx        optional: adapting the head to one person, by one schedule
"""

import hashlib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dualhmr.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files are all there and unchanged."""

    folder: Path
    manifest: Manifest

    def path(self, file: str) -> Path:
        """The path of one of the bundle's files. FileNotFoundError for one that it came without."""
        if file not in self.manifest.files:
            raise FileNotFoundError(
                f"bundle {self.folder} comes without {file}; export it again with PyTorch weights"
            )
        return self.folder / file


def open_bundle(folder: str | os.PathLike[str] | None = None) -> Bundle:
    """Reads a bundle and checks every file's hash; None is the one that comes with the package.

    Raises FileNotFoundError for a folder or file that is not there, and ValueError for a manifest
    that is damaged or of a newer format, and for a file whose content is not what was exported.
    """
    if folder is None:
        folder = Path(str(resources.files("dualhmr"))) / "assets" / "default_bundle"
    folder = Path(folder)
    manifest = read_manifest(folder)
    for file, expected in manifest.files.items():
        if not (folder / file).is_file():
            raise FileNotFoundError(f"bundle {folder} lacks {file}; copy the whole folder again")
        found = sha256(folder / file)
        if found != expected:
            raise ValueError(
                f"{folder / file} is damaged or was exchanged: its sha256 is {found}, the manifest "
                f"says {expected}; copy the whole bundle again"
            )
    return Bundle(folder, manifest)


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
