"""What one checkpoint holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dualhmr.bundle import NetworkSpec
from dualhmr.networks import (
    HRNetW48Classification,
    HRNetW48Concatenated,
    MeshRegressor,
    ResNet50,
    load_checkpoint_state,
)
from dualhmr.networks.head import BOX_INFO_COUNT, CAMERA_COUNT, POSE_COUNT, SHAPE_COUNT
from dualhmr_training.training_folder import NetworkFacts


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network with its weights, in evaluation mode."""

    network: MeshRegressor
    spec: NetworkSpec


@dataclass(frozen=True, eq=False)
class Contents:
    """The networks of one checkpoint, and what is known of them."""

    kind: str
    main: ImportedNetwork
    auxiliary: ImportedNetwork | None
    """None where the checkpoint holds one network."""
    facts: NetworkFacts
    begins_with_mean_params: bool = False
    """Whether the heads' start came from another file."""


HIDDEN = 1024
_ESTIMATE_COUNT = POSE_COUNT + SHAPE_COUNT + CAMERA_COUNT


@dataclass(frozen=True)
class Layout:
    """A backbone, and what precedes its names."""

    title: str
    backbone: str
    prefix: str
    feature_count: int
    last_stage: str
    """Names of this layout begin so, after the prefix, and those of no other one do."""


LAYOUTS = (
    Layout(
        "HRNet-W48",
        "hrnet_w48_concatenated",
        "backbone.",
        HRNetW48Concatenated.feature_count,
        "stage4.",
    ),
    Layout(
        "HRNet-W48",
        "hrnet_w48_classification",
        "encoder.",
        HRNetW48Classification.feature_count,
        "stage4.",
    ),
    Layout("ResNet-50", "resnet50", "encoder.", ResNet50.feature_count, "layer4."),
    Layout("ResNet-50", "resnet50", "", ResNet50.feature_count, "layer4."),
)


@dataclass(frozen=True)
class Recognised:
    """The kind of network that a state dict is of, all but the number of iterations."""

    layout: Layout
    reads_box_info: bool

    @property
    def title(self) -> str:
        """As the papers call it: `CLIFF HRNet-W48`."""
        return f"{'CLIFF' if self.reads_box_info else 'HMR'} {self.layout.title}"

    def load(self, state: Mapping[str, Tensor], *, iterations: int) -> ImportedNetwork:
        """The network with these weights, in evaluation mode.

        Raises ValueError that lists missing, unexpected and misshapen names.
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


def recognise(state: Mapping[str, Tensor]) -> Recognised:
    """What network `state` is of; ValueError where it is none of those known."""
    for layout in LAYOUTS:
        if any(name.startswith(layout.prefix + layout.last_stage) for name in state):
            return Recognised(layout, _reads_box_info(layout, state))
    first = ", ".join([*sorted(state)[:3], "..."])
    raise ValueError(
        f"its {len(state)} names ({first}) are those of no network known here: ResNet-50, or "
        "HRNet-W48 under backbone. or encoder."
    )


def _reads_box_info(layout: Layout, state: Mapping[str, Tensor]) -> bool:
    if "fc1.weight" not in state:
        raise ValueError(f"{layout.title} without fc1.weight: it has no regressor head")
    shape = tuple(state["fc1.weight"].shape)
    without = layout.feature_count + _ESTIMATE_COUNT
    shapes = {(HIDDEN, without + BOX_INFO_COUNT): True, (HIDDEN, without): False}
    if shape not in shapes:
        cliff, hmr = shapes
        raise ValueError(
            f"fc1.weight is {shape}; after {layout.title} with {layout.feature_count} features "
            f"it is {cliff} in CLIFF and {hmr} in HMR"
        )
    return shapes[shape]
