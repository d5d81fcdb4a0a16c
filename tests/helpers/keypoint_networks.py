"""Trained networks that read keypoints alone, so people need no pictures."""

import copy
from dataclasses import replace

import torch

from dualhmr_training.training_folder import Networks, open_networks


def keypoint_networks() -> Networks:
    """The default main network, and as auxiliary another like it, with slightly other weights."""
    default = open_networks(None)
    auxiliary = copy.deepcopy(default.main)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in auxiliary.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.1 * parameter.abs().mean() * noise)
    return replace(default, auxiliary=auxiliary, auxiliary_spec=default.main_spec)
