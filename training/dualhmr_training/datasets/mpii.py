"""MPII Human Pose (Andriluka et al., CVPR 2014): frames of videos with 2D keypoints."""

from dualhmr_training.datasets.spec import DatasetSpec

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
