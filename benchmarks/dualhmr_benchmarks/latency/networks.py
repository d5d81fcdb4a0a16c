"""Networks to measure: those that come with dualhmr, and the paper's with random weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from dualhmr import load_body, open_bundle
from dualhmr.body.files import FREE_BODY, read_body
from dualhmr.bundle import Bundle, Manifest, NetworkSpec, ScheduleDefaults
from dualhmr.camera import default_focal_length, image_center
from dualhmr.engines import open_networks
from dualhmr.engines.torch_networks import torch_networks
from dualhmr.example import example
from dualhmr.keypoints import SPIN_49
from dualhmr.objective.weights import LossWeights
from dualhmr.person import PersonEvidence, observe_person, run_frozen_networks
from dualhmr.person_fitting.torch_fitter import PersonTensors, TorchFitter
from dualhmr_export.write_bundle import write_bundle

DEFAULT = "default"
RELEASES: Mapping[str, tuple[str, str]] = {
    "resnet50": ("resnet50", "resnet50"),
    "hrnet_w48": ("hrnet_w48_concatenated", "hrnet_w48_classification"),
}
"""Backbones of the main network and of the auxiliary one, by the name of a pair."""
NETWORKS = (DEFAULT, *RELEASES)
_RATE = 1e-5
# The first guess of the pelvis' rotation, in 6D: half a turn about x, diag(1, -1, -1). SMPL has y
# upwards and faces +z; a camera has y downwards, and +z leads away from it.
_UPRIGHT = (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)


def networks(
    name: str, folder: Path, *, adaptation: bool = True, step_graphs: bool = False
) -> Bundle:
    """Exports one of `NETWORKS` into `folder`/`name`, which must not exist yet.

    Their schedule is the paper's and never stops early. Their meshes are those of the free body,
    which has as many vertices as SMPL. Without `adaptation` the bundle has no adaptation graph,
    with `step_graphs` also those of single steps.
    """
    body = load_body() if adaptation else None
    if name == DEFAULT:
        bundle = open_bundle()
        schedule = replace(bundle.manifest.schedule, name="paper", tolerance=0.0)
        manifest = replace(bundle.manifest, schedule=schedule)
        main, auxiliary = torch_networks(bundle)
        write_bundle(folder / name, main, auxiliary, manifest, body=body, step_graphs=step_graphs)
        return open_bundle(folder / name)
    specs = [
        NetworkSpec(backbone, {}, ("image", "box_info"), 1024, iterations, True)
        for backbone, iterations in zip(RELEASES[name], (10, 3), strict=True)
    ]
    torch.manual_seed(0)
    main, auxiliary = (spec.build() for spec in specs)
    for network in (main, auxiliary):
        network.head.init_pose[0, :6] = torch.tensor(_UPRIGHT)
        _reduce_gain(network)
    manifest = Manifest(
        name=name,
        description="the paper's architecture with random weights",
        body=FREE_BODY,
        main=specs[0],
        auxiliary=specs[1],
        image_size=(256, 192),
        keypoint_set=SPIN_49,
        camera="cliff",
        weights=LossWeights(),
        schedule=ScheduleDefaults("paper", adam_rate=_RATE, descent_rate=_RATE, tolerance=0.0),
        files={},
        provenance={},
    )
    write_bundle(folder / name, main, auxiliary, manifest, body=body, step_graphs=step_graphs)
    return open_bundle(folder / name)


def _reduce_gain(network: nn.Module) -> None:
    """Residual branches add up: in an untrained network at full gain features reach 1e9."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.5)


class ExampleProblem(NamedTuple):
    """The person of the example photograph, ready to be adapted to."""

    bundle: Bundle
    fitter: TorchFitter
    evidence: PersonEvidence
    tensors: PersonTensors
    """`evidence` on the device."""


def example_problem(bundle: Bundle, *, device: str) -> ExampleProblem:
    """Runs both frozen networks once; `bundle` is one of networks for the free body."""
    fitter = TorchFitter(bundle, read_body(), device=device, scope="head")
    image, keypoints = example()
    height, width = image.shape[:2]
    observed = observe_person(
        keypoints,
        0,
        default_focal_length(width, height),
        image_center(width, height),
        crop=bundle.manifest.crop,
    )
    networks = open_networks(bundle, "torch", device=device)
    evidence = run_frozen_networks(image, observed, networks, bundle.manifest)
    return ExampleProblem(bundle, fitter, evidence, fitter.tensors(evidence))
