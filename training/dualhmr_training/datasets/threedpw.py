"""3DPW (von Marcard et al., ECCV 2018): people outdoors, with inertial sensors."""

from dualhmr_training.datasets.spec import DatasetSpec

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
