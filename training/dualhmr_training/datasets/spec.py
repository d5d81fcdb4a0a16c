"""What is particular about a data set, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that users bring themselves: its licence does not let anybody else hand it on.

    Its folder holds the annotation files, and the images under the names that these give.
    """

    name: str
    """As in `open_dataset`."""
    title: str
    annotation_files: Mapping[str, str]
    """File name for every split."""
    example_image: str
    """How the images are named in the annotations, and laid out in the folder."""
    images_from: str
    """The page of the project."""
    annotations_from: str
    indoor: bool = False
    """Recorded in a studio, where nothing ever hides people: occluders are pasted in training."""
    gendered: bool = False
    """Whether the truth to evaluate against is the mesh of the person's gender."""
    gendered_betas: bool = False
    """Whether betas to train with are those of the body of the person's gender."""
    reduction: int = 1
    """Images are read at one over this of their size; so are all annotations in pixels."""

    def annotation_file(self, split: str) -> str:
        """The name of a split's file; ValueError where the data set has no such split."""
        if split not in self.annotation_files:
            raise ValueError(
                f"{self.title} has no split {split!r}; it has {', '.join(self.annotation_files)}"
            )
        return self.annotation_files[split]

    def missing_annotations(self, path: Path) -> FileNotFoundError:
        """The error that says which annotations are missing, where, and where to get them."""
        return FileNotFoundError(
            f"{self.title}: no annotations at {path}; get them from {self.annotations_from}, or "
            "say where they are with annotations="
        )

    def missing_image(self, path: Path) -> FileNotFoundError:
        """The error that says which image is missing, where, and where to get it."""
        return FileNotFoundError(
            f"{self.title}: no image at {path}; get the images from {self.images_from} and lay "
            f"them out as the annotations name them, like {self.example_image}"
        )
