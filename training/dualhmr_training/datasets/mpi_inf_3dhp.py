"""MPI-INF-3DHP (Mehta et al., 3DV 2017): actors before a green screen, without markers."""

from dualhmr_training.datasets.spec import DatasetSpec

MPI_INF_3DHP = DatasetSpec(
    name="mpi_inf_3dhp",
    title="MPI-INF-3DHP",
    annotation_files={"train": "mpi_inf_3dhp_train.npz", "test": "mpi_inf_3dhp_valid.npz"},
    example_image="S1/Seq1/imageFrames/video_0/frame_000001.jpg",
    images_from="vcai.mpi-inf.mpg.de/3dhp-dataset",
    annotations_from="github.com/nkolot/SPIN",
    indoor=True,
)
