"""COCO (Lin et al., ECCV 2014): photographs with 2D keypoints; bodies only as pseudo-truth."""

from dualhmr_training.datasets.spec import DatasetSpec

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
