"""The licensed data sets: what is particular about each.

To add a data set in SPIN's annotation layout (see `annotations.py`), describe it here as a
`DatasetSpec` and list it in `DATASETS`; for training, give it a share in `mixture.paper_partitions`
or in a partition of your own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that users download themselves, because its licence forbids redistribution.

    Its folder holds the annotation files, and the images under the names that these list.
    """

    name: str
    """The key in `DATASETS`, and the folder's name in training."""
    title: str
    """For messages."""
    annotation_files: Mapping[str, str]
    """File name of each split, `train` and `test`."""
    example_image: str
    """An image's path in the folder, as the annotations list it; for messages."""
    images_from: str
    """The project's page."""
    annotations_from: str
    """Where to get the annotation files."""
    indoor: bool = False
    """Recorded in a studio, where nothing occludes people: training pastes occluders."""
    gendered: bool = False
    """Whether evaluation compares with the mesh of the person's gender."""
    gendered_betas: bool = False
    """Whether training betas are those of the body of the person's gender."""
    reduction: int = 1
    """Images, and all annotations in pixels, are reduced by this factor when read."""

    def annotation_file(self, split: str) -> str:
        """The name of a split's file; ValueError if the data set has no such split."""
        if split not in self.annotation_files:
            raise ValueError(
                f"{self.title} has no split {split!r}; it has {', '.join(self.annotation_files)}"
            )
        return self.annotation_files[split]

    def missing_annotations(self, path: Path) -> FileNotFoundError:
        """The error for a missing annotation file, which says where to get it."""
        return FileNotFoundError(
            f"{self.title}: no annotations at {path}; get them from {self.annotations_from}, or "
            "say where they are with annotations="
        )

    def missing_image(self, path: Path) -> FileNotFoundError:
        """The error for a missing image, which says where to get the images."""
        return FileNotFoundError(
            f"{self.title}: no image at {path}; get the images from {self.images_from} and lay "
            f"them out as the annotations name them, like {self.example_image}"
        )


DATASETS: Mapping[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="human36m",
            title="Human3.6M",
            # Training: subjects 1, 5, 6, 7, 8. Test: the frontal camera of 9 and 11 (protocol 2).
            annotation_files={"train": "h36m_train.npz", "test": "h36m_valid_protocol2.npz"},
            example_image="images/S1_Directions_1.54138969_000001.jpg",
            images_from="vision.imar.ro/human3.6m",
            # The fitted SMPL parameters may not be shared, only the scripts that make the files.
            annotations_from="github.com/nkolot/SPIN (scripts that make them from the data set)",
            indoor=True,
            gendered=True,
        ),
        DatasetSpec(
            name="mpi_inf_3dhp",
            title="MPI-INF-3DHP",
            annotation_files={"train": "mpi_inf_3dhp_train.npz", "test": "mpi_inf_3dhp_valid.npz"},
            example_image="S1/Seq1/imageFrames/video_0/frame_000001.jpg",
            images_from="vcai.mpi-inf.mpg.de/3dhp-dataset",
            annotations_from="github.com/nkolot/SPIN",
            indoor=True,
        ),
        DatasetSpec(
            name="coco",
            title="COCO 2014",
            annotation_files={"train": "coco_2014_train.npz"},
            example_image="train2014/COCO_train2014_000000044474.jpg",
            images_from="cocodataset.org",
            annotations_from=(
                "github.com/nkolot/SPIN, or with bodies from "
                "github.com/huawei-noah/noah-research (CLIFF's pseudo-truth)"
            ),
        ),
        DatasetSpec(
            name="mpii",
            title="MPII Human Pose",
            annotation_files={"train": "mpii_train.npz"},
            example_image="images/015601864.jpg",
            images_from="human-pose.mpi-inf.mpg.de",
            annotations_from=(
                "github.com/nkolot/SPIN, or with bodies from "
                "github.com/huawei-noah/noah-research (CLIFF's pseudo-truth)"
            ),
        ),
        DatasetSpec(
            name="threedpw",
            title="3DPW",
            annotation_files={"train": "3dpw_train.npz", "test": "3dpw_test.npz"},
            example_image="imageFiles/courtyard_arguing_00/image_00000.jpg",
            images_from="virtualhumans.mpi-inf.mpg.de/3DPW",
            annotations_from="github.com/nkolot/SPIN (its script also makes the training split)",
            gendered=True,
            gendered_betas=True,
            # Photographs of 1080 x 1920: half the size is enough for crops of 256 x 192.
            reduction=2,
        ),
        DatasetSpec(
            name="lsp_extended",
            title="LSP-Extended",
            annotation_files={"train": "hr-lspet_train.npz"},
            example_image="im00001.png",
            images_from="sam.johnson.io/research/lspet.html",
            annotations_from="github.com/nkolot/SPIN",
        ),
    )
}
