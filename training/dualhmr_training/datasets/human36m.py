"""Human3.6M (Ionescu et al., TPAMI 2014): eleven actors in a studio, with motion capture."""

from dualhmr_training.datasets.spec import DatasetSpec

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
