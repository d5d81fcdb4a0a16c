"""The networks of the releases, recognised by the names and shapes of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dualhmr.bundle import NetworkSpec
from dualhmr.networks import (
    Backbone,
    HRNetW48Classification,
    HRNetW48Concatenated,
    MeshRegressor,
    ResNet50,
    load_checkpoint_state,
)
from dualhmr.networks.head import BOX_INFO_COUNT, CAMERA_COUNT, POSE_COUNT, SHAPE_COUNT
from dualhmr_training.training_folder import NetworkFacts

HIDDEN = 1024
"""Width of HMR's regressor head; SPIN, CLIFF and Meta-HMR kept it."""
_ESTIMATE_COUNT = POSE_COUNT + SHAPE_COUNT + CAMERA_COUNT


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network with its weights, in evaluation mode."""

    network: MeshRegressor
    spec: NetworkSpec


@dataclass(frozen=True, eq=False)
class Contents:
    """The networks of one checkpoint, and the facts that adapting them needs."""

    kind: str
    main: ImportedNetwork
    auxiliary: ImportedNetwork | None
    """None if the checkpoint holds one network."""
    facts: NetworkFacts
    used_mean_params: bool = False
    """Whether the head's initial estimate came from `mean_params`, not from the checkpoint."""


@dataclass(frozen=True)
class Layout:
    """A backbone, and how its tensors are named in a release."""

    title: str
    backbone: str
    """Its name in `dualhmr.networks.BACKBONES`."""
    module: type[Backbone]
    prefix: str
    """What precedes the backbone's own names."""
    last_stage: str
    """After the prefix, names of the last stage begin with this, which tells ResNet from HRNet."""


LAYOUTS = (
    Layout("HRNet-W48", "hrnet_w48_concatenated", HRNetW48Concatenated, "backbone.", "stage4."),
    Layout("HRNet-W48", "hrnet_w48_classification", HRNetW48Classification, "encoder.", "stage4."),
    Layout("ResNet-50", "resnet50", ResNet50, "encoder.", "layer4."),
    Layout("ResNet-50", "resnet50", ResNet50, "", "layer4."),
)


@dataclass(frozen=True)
class Architecture:
    """What a state dict says about its network: all but the head's number of iterations."""

    layout: Layout
    reads_box_info: bool
    """The box's place in the image is an input of the head in CLIFF, not in HMR."""

    @property
    def title(self) -> str:
        """The papers' name, such as `CLIFF HRNet-W48`."""
        return f"{'CLIFF' if self.reads_box_info else 'HMR'} {self.layout.title}"

    def load(self, state: Mapping[str, Tensor], *, iterations: int) -> ImportedNetwork:
        """Builds the network with these weights, in evaluation mode.

        Raises ValueError that lists the missing, unexpected and misshapen names.
        """
        spec = NetworkSpec(
            backbone=self.layout.backbone,
            backbone_options={},
            reads=("image", "box_info") if self.reads_box_info else ("image",),
            hidden=HIDDEN,
            iterations=iterations,
            head_reads_box_info=self.reads_box_info,
        )
        network = spec.build()
        network.backbone_prefix = self.layout.prefix
        load_checkpoint_state(network, state)
        return ImportedNetwork(network.eval(), spec)


def recognise(state: Mapping[str, Tensor]) -> Architecture:
    """The architecture of a state dict; ValueError if it is not one of `LAYOUTS`."""
    for layout in LAYOUTS:
        if any(name.startswith(layout.prefix + layout.last_stage) for name in state):
            return Architecture(layout, _reads_box_info(layout, state))
    first = ", ".join([*sorted(state)[:3], "..."])
    raise ValueError(
        f"its {len(state)} names ({first}) are not those of a supported network: ResNet-50, or "
        "HRNet-W48 under backbone. or encoder."
    )


def _reads_box_info(layout: Layout, state: Mapping[str, Tensor]) -> bool:
    """The head's first layer reads features and the estimate, in CLIFF the box too."""
    if "fc1.weight" not in state:
        raise ValueError(f"{layout.title} without fc1.weight: it has no regressor head")
    shape = tuple(state["fc1.weight"].shape)
    features = layout.module.feature_count
    hmr = (HIDDEN, features + _ESTIMATE_COUNT)
    cliff = (HIDDEN, hmr[1] + BOX_INFO_COUNT)
    if shape not in (cliff, hmr):
        raise ValueError(
            f"fc1.weight is {shape}; after {layout.title} with {features} features "
            f"it is {cliff} in CLIFF and {hmr} in HMR"
        )
    return shape == cliff
