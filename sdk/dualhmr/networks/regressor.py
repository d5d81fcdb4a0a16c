"""A whole network, backbone and regressor head: checkpoints, and frozen parts to export."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from dualhmr.networks.backbones import IMAGE_MEAN, IMAGE_STD, Backbone, KeypointTrunk
from dualhmr.networks.head import HeadOutput, RegressorHead
from dualhmr.networks.hmr2 import HMR2Features
from dualhmr.networks.hrnet import HRNetW48Classification, HRNetW48Concatenated
from dualhmr.networks.landmark_trunk import LandmarkTrunk
from dualhmr.networks.resnet import ResNet50

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "keypoint_trunk": KeypointTrunk,
    "landmark_trunk": LandmarkTrunk,
    "resnet50": ResNet50,
    "hrnet_w48_concatenated": HRNetW48Concatenated,
    "hrnet_w48_classification": HRNetW48Classification,
    "hmr2": HMR2Features,
}


def build_backbone(name: str, **options: object) -> Backbone:
    """A new backbone with random weights; `options` go to its constructor.

    Raises ValueError for an unknown name and TypeError for an unknown option.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; known are {', '.join(sorted(BACKBONES))}")
    return BACKBONES[name](**options)


class ImageNormaliser(nn.Module):
    """uint8 RGB crops (N, H, W, 3) to normalised maps (N, 3, H, W).

    A module, so that it is exported with the network, which then reads 8-bit crops. Its two
    constants are buffers outside the state dict: they follow the network to its device and
    precision, and checkpoints do not hold them.
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

        Raises TypeError for another dtype, as its range is unknown, and ValueError for another
        layout.
        """
        if crop.dtype != torch.uint8:
            raise TypeError(f"image crops must be uint8 in [0, 255], got {crop.dtype}")
        if crop.ndim != 4 or crop.shape[-1] != 3:
            raise ValueError(f"image crops must be (N, H, W, 3), got {tuple(crop.shape)}")
        # Cast first: TensorRT cannot permute 8-bit numbers. Convolutions need contiguous maps.
        maps = crop.to(self.scale.dtype).permute(0, 3, 1, 2).contiguous()
        return maps * self.scale + self.shift


class MeshRegressor(nn.Module):
    """From one person's inputs to SMPL parameters.

    Inputs are named: `image` (N, H, W, 3) uint8 RGB crops, `box_info` (N, 3), and all others that
    the backbone lists in `reads`. Image backbones read normalised maps. The images are normalised
    here and not in a wrapper around the backbone: so the backbone keeps its checkpoint names, and
    the network, a graph exported from it, and a backbone without images take the same crops.

    `backbone_prefix` precedes the backbone's names in a checkpoint: "backbone." (HRNet,
    main), "encoder." (HRNet, auxiliary) or "" (ResNet).
    """

    def __init__(
        self, backbone: Backbone, head: RegressorHead, *, backbone_prefix: str = ""
    ) -> None:
        """Raises ValueError where the head takes another number of features."""
        super().__init__()
        if backbone.feature_count != head.feature_count:
            raise ValueError(
                f"the backbone gives {backbone.feature_count} features, "
                f"but the head takes {head.feature_count}"
            )
        self.backbone = backbone
        self.head = head
        self.backbone_prefix = backbone_prefix
        self.normalise_image = ImageNormaliser()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs that `forward` takes: the backbone's, then `box_info` if read."""
        extra = ("box_info",) if self.head.reads_box_info else ()
        return tuple(dict.fromkeys((*self.backbone.reads, *extra)))

    def forward(self, inputs: Mapping[str, Tensor]) -> HeadOutput:
        """The tensors named in `reads`, each with N first, to the parameters of N persons.

        Raises ValueError that names the missing inputs; further entries are ignored.
        """
        _require(self.reads, inputs)
        features = self.encode(inputs)
        box_info = inputs["box_info"] if self.head.reads_box_info else None
        output: HeadOutput = self.head(features, box_info)
        return output

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The backbone alone: the tensors in `backbone.reads` to features (N, F).

        Test-time optimisation of the head computes them once. Raises as `forward` does, but does
        not need the inputs that only the head reads.
        """
        features: Tensor = self.backbone(*self.backbone_inputs(inputs))
        return features

    def backbone_inputs(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The backbone's arguments: the tensors in its `reads`, the image normalised.

        Raises as `encode` does.
        """
        _require(self.backbone.reads, inputs)
        return tuple(
            self.normalise_image(inputs[name]) if name == "image" else inputs[name]
            for name in self.backbone.reads
        )


def _require(names: tuple[str, ...], inputs: Mapping[str, Tensor]) -> None:
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ValueError(f"missing inputs {missing}; this network reads {list(names)}")


_NAMES_LISTED = 20


def checkpoint_names(model: MeshRegressor) -> dict[str, str]:
    """Every name of `model.state_dict()` with its name in a checkpoint file.

    A checkpoint has the head's names at the root and the backbone's under `backbone_prefix`. Raises
    ValueError where that makes two names equal.
    """
    names = {
        f"backbone.{name}": model.backbone_prefix + name for name in model.backbone.state_dict()
    }
    head_names = {f"head.{name}": name for name in model.head.state_dict()}
    clashes = set(names.values()) & set(head_names.values())
    if clashes:
        raise ValueError(
            f"backbone and head would share names in a checkpoint: {_listed(clashes)}; "
            f"backbone_prefix {model.backbone_prefix!r} must keep them apart"
        )
    return names | head_names


def checkpoint_state(model: MeshRegressor) -> dict[str, Tensor]:
    """The model's tensors under their checkpoint names; detached, but not copied."""
    names = checkpoint_names(model)
    return {names[name]: tensor for name, tensor in model.state_dict().items()}


def load_checkpoint_state(model: MeshRegressor, state: Mapping[str, Tensor]) -> None:
    """Copy a state dict in checkpoint names into `model`, in place, converting to its dtypes.

    All or nothing: raises ValueError that lists missing, unexpected and misshapen names, and
    then the model is unchanged. Only the counters `num_batches_tracked` are optional: nothing is
    computed from them, and old files lack them.
    """
    own = model.state_dict()
    names = checkpoint_names(model)
    check_state({names[name]: tensor for name, tensor in own.items()}, state)
    model.load_state_dict({name: state.get(names[name], tensor) for name, tensor in own.items()})


class HasShape(Protocol):
    """A tensor, or what stands for one that is not read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...


def check_state(own: Mapping[str, HasShape], state: Mapping[str, HasShape]) -> None:
    """Raises ValueError that lists what `state` lacks or has beyond `own`, by name and shape."""
    missing = _without_counters(own.keys() - state.keys())
    unexpected = _without_counters(state.keys() - own.keys())
    misshapen = [
        f"{name} {_shape(state[name])} instead of {_shape(own[name])}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    found = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise ValueError("the checkpoint does not fit the network; " + "; ".join(found))


def _without_counters(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith("num_batches_tracked")]


def _shape(tensor: HasShape) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = len(ordered) - _NAMES_LISTED
    return ", ".join(ordered[:_NAMES_LISTED]) + (f" and {rest} more" if rest > 0 else "")


# The two networks that stay fixed at test time, as modules to export: tensors in the order of
# `reads` in, the outputs named here out.
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


class FrozenHead(nn.Module):
    """An auxiliary network on the main one's backbone: features to the pseudo mesh's parameters."""

    def __init__(self, head: RegressorHead) -> None:
        """Shares the head's weights; puts it into evaluation mode."""
        super().__init__()
        self.head = head.eval()
        self.reads = ("features", "box_info") if head.reads_box_info else ("features",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `FrozenAuxiliary`, of the tensors named in `reads`."""
        output = self.head(*inputs)
        return output.rotations, output.betas, output.camera


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
