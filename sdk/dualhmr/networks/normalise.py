"""From 8-bit crops to what networks trained on ImageNet expect."""

import torch
from torch import Tensor, nn

# Mean and standard deviation of ImageNet's R, G and B, for values in [0, 1].
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class ImageNormaliser(nn.Module):
    """uint8 RGB crops (N, H, W, 3) to normalised maps (N, 3, H, W).

    A module, so that it is traced with the network and an exported network takes plain 8-bit
    crops. Its two constants are buffers outside the state dict: they follow the network to its
    device and precision, and no checkpoint needs to hold them.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean = torch.tensor(IMAGE_MEAN).reshape(3, 1, 1)
        std = torch.tensor(IMAGE_STD).reshape(3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, crop: Tensor) -> Tensor:
        """Crop (N, H, W, 3), uint8 RGB, to (N, 3, H, W).

        Raises TypeError for another dtype (is 1.0 white or nearly black?) and ValueError for
        another layout.
        """
        if crop.dtype != torch.uint8:
            raise TypeError(f"image crops must be uint8 in [0, 255], got {crop.dtype}")
        if crop.ndim != 4 or crop.shape[-1] != 3:
            raise ValueError(f"image crops must be (N, H, W, 3), got {tuple(crop.shape)}")
        # Cast first: TensorRT moves no 8-bit numbers about. The convolutions want plain strides.
        maps = crop.to(self.scale.dtype).permute(0, 3, 1, 2).contiguous()
        return maps * self.scale + self.shift
