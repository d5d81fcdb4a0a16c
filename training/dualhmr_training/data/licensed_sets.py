"""The licensed data sets by name: what is particular about each, and opening them."""

import os
from collections.abc import Mapping
from pathlib import Path

from dualhmr_training.data.annotations import read_annotations
from dualhmr_training.data.augmentation import Augmentation
from dualhmr_training.data.person_dataset import BoxSource, DatasetSpec, PersonDataset

HUMAN36M = DatasetSpec(
    name="human36m",
    title="Human3.6M",
    # Subjects 1, 5, 6, 7, 8 for training; the frontal camera of 9 and 11, protocol 2, for testing.
    annotation_files={"train": "h36m_train.npz", "test": "h36m_valid_protocol2.npz"},
    example_image="images/S1_Directions_1.54138969_000001.jpg",
    images_from="vision.imar.ro/human3.6m",
    # The fitted SMPL parameters may not be handed on, only what makes the files from the videos.
    annotations_from="github.com/nkolot/SPIN (scripts that make them from the data set)",
    indoor=True,
    gendered=True,
)


MPI_INF_3DHP = DatasetSpec(
    name="mpi_inf_3dhp",
    title="MPI-INF-3DHP",
    annotation_files={"train": "mpi_inf_3dhp_train.npz", "test": "mpi_inf_3dhp_valid.npz"},
    example_image="S1/Seq1/imageFrames/video_0/frame_000001.jpg",
    images_from="vcai.mpi-inf.mpg.de/3dhp-dataset",
    annotations_from="github.com/nkolot/SPIN",
    indoor=True,
)


COCO = DatasetSpec(
    name="coco",
    title="COCO 2014",
    annotation_files={"train": "coco_2014_train.npz"},
    example_image="train2014/COCO_train2014_000000044474.jpg",
    images_from="cocodataset.org",
    annotations_from=(
        "github.com/nkolot/SPIN, or with bodies from "
        "github.com/huawei-noah/noah-research (CLIFF's pseudo-truth)"
    ),
)


MPII = DatasetSpec(
    name="mpii",
    title="MPII Human Pose",
    annotation_files={"train": "mpii_train.npz"},
    example_image="images/015601864.jpg",
    images_from="human-pose.mpi-inf.mpg.de",
    annotations_from=(
        "github.com/nkolot/SPIN, or with bodies from "
        "github.com/huawei-noah/noah-research (CLIFF's pseudo-truth)"
    ),
)


LSP_EXTENDED = DatasetSpec(
    name="lsp_extended",
    title="LSP-Extended",
    annotation_files={"train": "hr-lspet_train.npz"},
    example_image="im00001.png",
    images_from="sam.johnson.io/research/lspet.html",
    annotations_from="github.com/nkolot/SPIN",
)


THREEDPW = DatasetSpec(
    name="threedpw",
    title="3DPW",
    annotation_files={"train": "3dpw_train.npz", "test": "3dpw_test.npz"},
    example_image="imageFiles/courtyard_arguing_00/image_00000.jpg",
    images_from="virtualhumans.mpi-inf.mpg.de/3DPW",
    annotations_from="github.com/nkolot/SPIN (its script also makes the training split)",
    gendered=True,
    gendered_betas=True,
    reduction=2,
)


DATASETS: Mapping[str, DatasetSpec] = {
    spec.name: spec for spec in (HUMAN36M, MPI_INF_3DHP, COCO, MPII, THREEDPW, LSP_EXTENDED)
}


def open_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str = "train",
    *,
    annotations: str | os.PathLike[str] | None = None,
    augmentation: Augmentation | None = None,
    boxes: BoxSource = "file",
    seed: int = 0,
) -> PersonDataset:
    """Opens one of `DATASETS` in its folder `root`.

    `annotations` is another file than the split's usual one in `root`. The rest is explained at
    `PersonDataset`.

    Raises ValueError for an unknown name or split and for damaged annotations; FileNotFoundError
    saying which data set lacks which file, and where to get it, for missing annotations or when
    the first image is not where they say.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    spec, root = DATASETS[name], Path(root)
    path = root / spec.annotation_file(split)
    if annotations is not None:
        path = Path(annotations)
    if not path.is_file():
        raise spec.missing_annotations(path)
    dataset = PersonDataset(
        spec,
        read_annotations(path),
        root,
        augmentation=augmentation,
        boxes=boxes,
        seed=seed,
    )
    # One look now, rather than an error from a worker after the networks are built.
    if not dataset.image_path(0).is_file():
        raise spec.missing_image(dataset.image_path(0))
    return dataset
