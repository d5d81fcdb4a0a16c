"""Opening the data sets by name."""

import os
from collections.abc import Mapping
from pathlib import Path

from dualhmr_training.datasets.annotations import read_annotations
from dualhmr_training.datasets.augmentation import Augmentation
from dualhmr_training.datasets.coco import COCO
from dualhmr_training.datasets.human36m import HUMAN36M
from dualhmr_training.datasets.lsp_extended import LSP_EXTENDED
from dualhmr_training.datasets.mpi_inf_3dhp import MPI_INF_3DHP
from dualhmr_training.datasets.mpii import MPII
from dualhmr_training.datasets.person_dataset import PersonDataset
from dualhmr_training.datasets.person_view import BoxSource
from dualhmr_training.datasets.spec import DatasetSpec
from dualhmr_training.datasets.threedpw import THREEDPW

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
