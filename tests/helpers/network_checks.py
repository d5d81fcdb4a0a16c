"""Checks and inputs that the tests of several networks share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dualhmr.networks import Backbone

CROP_HEIGHT, CROP_WIDTH = 256, 192


def shapes_in_table(path: Path) -> dict[str, tuple[int, ...]]:
    """A table of a release, lines of "name<TAB>64x3x7x7" or "name<TAB>scalar"."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if line[0] != "#"]
    return {
        name: () if shape == "scalar" else tuple(int(side) for side in shape.split("x"))
        for name, shape in rows
    }


def random_maps(count: int, *, height: int = CROP_HEIGHT, width: int = CROP_WIDTH) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(3))


def check_batch_independence(backbone: Backbone) -> None:
    maps = random_maps(2, height=128, width=96)
    with torch.no_grad():
        together = backbone(maps)
        alone = torch.cat([backbone(maps[:1]), backbone(maps[1:])])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5 * float(together.abs().max()))


def check_export(build: Callable[[], Backbone]) -> None:
    # On the meta device: tracing needs shapes only, so no weight is drawn and nothing computed.
    with torch.device("meta"):
        backbone = build().eval()
        maps = torch.empty(2, 3, CROP_HEIGHT, CROP_WIDTH)
    batch = torch.export.Dim("batch")
    program = torch.export.export(backbone, (maps,), dynamic_shapes=({0: batch},))
    assert program.module()(maps[:1].repeat(5, 1, 1, 1)).shape == (5, backbone.feature_count)


def fill_reproducibly(network: nn.Module) -> None:
    """Weights, norms and running statistics that are neither trivial nor tied to torch's draws."""
    draws = np.random.default_rng(0)
    for name, tensor in sorted(network.state_dict().items()):
        uniform = torch.from_numpy(draws.uniform(-1.0, 1.0, tuple(tensor.shape)))
        if name.endswith("running_var"):
            tensor.copy_(1.0 + 0.4 * uniform)
        elif name.endswith(("running_mean", "bias")):
            tensor.copy_(0.2 * uniform)
        elif tensor.ndim == 1:
            tensor.copy_(0.6 + 0.3 * uniform)
        elif tensor.ndim == 4:
            tensor.copy_(uniform * (6.0 / tensor[0].numel()) ** 0.5)


def fingerprint(backbone: Backbone) -> list[float]:
    """Five numbers of the features of one small fixed image, with reproducible weights."""
    fill_reproducibly(backbone)
    ramp = torch.linspace(-2.0, 2.0, 3 * 64 * 96).reshape(1, 3, 64, 96)
    with torch.no_grad():
        features = backbone.eval()(torch.sin(40.0 * ramp))[0]
    return [*features[:3].tolist(), float(features.mean()), float(features.std())]
