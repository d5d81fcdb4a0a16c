"""Batch norms folded into the convolutions before them: the same function, fewer layers."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dualhmr.networks import Backbone


def with_folded_norms(backbone: Backbone, *example: Tensor) -> Backbone:
    """A copy in evaluation mode, without the batch norms that follow a convolution.

    Which follow one is seen by running it on `example`, its inputs. A convolution whose output
    somebody else reads too must not precede a norm; in residual networks none does. In PyTorch
    rather than in the exported graph: what is folded before weights are rounded to another type is
    rounded once.
    """
    folded = copy.deepcopy(backbone).eval()
    modules = dict(folded.named_modules())
    for convolution, norm in _pairs(folded, modules, example):
        pair = modules[convolution], modules[norm]
        folded.set_submodule(convolution, fuse_conv_bn_eval(*pair))
        folded.set_submodule(norm, nn.Identity())
    return folded


def _pairs(
    backbone: Backbone, modules: dict[str, nn.Module], example: tuple[Tensor, ...]
) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch norms that read what they put out."""
    made: list[tuple[Tensor, str]] = []
    pairs: list[tuple[str, str]] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def after(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                made.append((output, name))
            else:
                pairs.extend((maker, name) for maps, maker in made if maps is inputs[0])

        return module.register_forward_hook(after)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [watch(name, each) for name, each in modules.items() if isinstance(each, kinds)]
    with torch.no_grad():
        backbone(*example)
    for hook in hooks:
        hook.remove()
    return pairs
