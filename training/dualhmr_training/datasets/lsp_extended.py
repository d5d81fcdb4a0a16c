"""LSP-Extended (Johnson and Everingham, CVPR 2011), high resolution: sports, 14 2D keypoints."""

from dualhmr_training.datasets.spec import DatasetSpec

LSP_EXTENDED = DatasetSpec(
    name="lsp_extended",
    title="LSP-Extended",
    annotation_files={"train": "hr-lspet_train.npz"},
    example_image="im00001.png",
    images_from="sam.johnson.io/research/lspet.html",
    annotations_from="github.com/nkolot/SPIN",
)
