"""The two networks that stay fixed at test time, as they are exported and run: tensors in and out.

Inputs are positional, in the order of `reads`; outputs are named by `OUTPUTS`.
"""

from torch import Tensor, nn

from dualhmr.networks.regressor import MeshRegressor

BACKBONE_OUTPUTS = ("features",)
AUXILIARY_OUTPUTS = ("rotations", "betas", "camera")


class FrozenBackbone(nn.Module):
    """The main network's backbone: its inputs to features (N, F)."""

    def __init__(self, network: MeshRegressor) -> None:
        """Shares the network's weights; puts it into evaluation mode."""
        super().__init__()
        self.network = network.eval()
        self.reads = network.backbone.reads

    def forward(self, *inputs: Tensor) -> Tensor:
        """The tensors named in `reads` to features."""
        return self.network.encode(dict(zip(self.reads, inputs, strict=True)))


class FrozenAuxiliary(nn.Module):
    """The whole auxiliary network: its inputs to the pseudo mesh's parameters."""

    def __init__(self, network: MeshRegressor) -> None:
        """Shares the network's weights; puts it into evaluation mode."""
        super().__init__()
        self.network = network.eval()
        self.reads = network.reads

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The tensors named in `reads` to rotations (N, 24, 3, 3), betas (N, 10), camera (N, 3)."""
        output = self.network(dict(zip(self.reads, inputs, strict=True)))
        return output.rotations, output.betas, output.camera
