from pathlib import Path

import pytest
import torch
from helpers.network_checks import shapes_in_table
from torch import Tensor

from dualhmr.networks import (
    BACKBONES,
    Backbone,
    ImageNormaliser,
    MeshRegressor,
    RegressorHead,
    build_backbone,
    checkpoint_names,
    checkpoint_state,
    load_checkpoint_state,
)

# file: backbone, its prefix, whether the head reads box info
RELEASES = {
    "meta_hmr_cliff_hrnet.main": ("hrnet_w48_concatenated", "backbone.", True),
    "meta_hmr_cliff_hrnet.auxiliary": ("hrnet_w48_classification", "encoder.", True),
    "meta_hmr_cliff_resnet.main": ("resnet50", "", True),
    "meta_hmr_cliff_resnet.auxiliary": ("resnet50", "", True),
    "meta_hmr_hmr_resnet.main": ("resnet50", "", False),
    "meta_hmr_hmr_resnet.auxiliary": ("resnet50", "", False),
}


class TinyBackbone(Backbone):
    """Reads an image and a second input; has a batch norm, hence a counter."""

    reads = ("image", "weight")
    feature_count = 3

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, image: Tensor, weight: Tensor) -> Tensor:
        features: Tensor = self.norm(image).mean(dim=(2, 3)) * weight
        return features


def make_tiny(*, prefix: str = "trunk.", reads_box_info: bool = True) -> MeshRegressor:
    head = RegressorHead(3, hidden=8, iterations=2, reads_box_info=reads_box_info)
    return MeshRegressor(TinyBackbone(), head, backbone_prefix=prefix).eval()


def make_inputs(persons: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        "image": torch.randint(256, (persons, 32, 24, 3), dtype=torch.uint8, generator=generator),
        "weight": torch.rand(persons, 3, generator=generator),
        "box_info": torch.rand(persons, 3, generator=generator),
    }


@pytest.mark.parametrize("release", RELEASES)
def test_names_and_shapes_are_those_of_the_release(release: str, shared_folder: Path) -> None:
    backbone, prefix, reads_box_info = RELEASES[release]
    with torch.device("meta"):
        network = build_backbone(backbone)
        head = RegressorHead(network.feature_count, iterations=10, reads_box_info=reads_box_info)
    model = MeshRegressor(network, head, backbone_prefix=prefix)
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint_state(model).items()}
    assert found == shapes_in_table(shared_folder / "formats" / f"{release}.tsv")


def test_backbone_gets_what_it_reads_and_the_head_box_info() -> None:
    model, inputs = make_tiny(), make_inputs()
    assert model.reads == ("image", "weight", "box_info")
    maps = ImageNormaliser()(inputs["image"])
    features = model.backbone(maps, inputs["weight"])
    torch.testing.assert_close(model.encode(inputs), features)
    expected = model.head(features, inputs["box_info"])
    torch.testing.assert_close(model(inputs), expected)


def test_a_head_without_box_info_ignores_it_among_the_inputs() -> None:
    model, inputs = make_tiny(reads_box_info=False), make_inputs()
    assert model.reads == ("image", "weight")
    with_box_info = model(inputs)
    del inputs["box_info"]
    torch.testing.assert_close(model(inputs), with_box_info)


def test_missing_inputs_are_named() -> None:
    inputs = make_inputs()
    del inputs["box_info"], inputs["weight"]
    with pytest.raises(ValueError, match=r"missing inputs \['weight', 'box_info'\]"):
        make_tiny()(inputs)
    with pytest.raises(ValueError, match=r"missing inputs \['weight'\]"):
        make_tiny().encode(inputs)


def test_encoding_needs_only_what_the_backbone_reads() -> None:
    model, inputs = make_tiny(), make_inputs()
    expected = model.encode(inputs)
    del inputs["box_info"]
    torch.testing.assert_close(model.encode(inputs), expected)


def test_backbone_and_head_must_fit() -> None:
    head = RegressorHead(4, iterations=1, reads_box_info=False)
    with pytest.raises(ValueError, match="gives 3 features, but the head takes 4"):
        MeshRegressor(TinyBackbone(), head)


def test_exports_from_8_bit_crops() -> None:
    model, inputs = make_tiny(), make_inputs()
    batch = torch.export.Dim("batch")
    dynamic = ({name: {0: batch} for name in inputs},)
    program = torch.export.export(model, (inputs,), dynamic_shapes=dynamic).module()
    more = make_inputs(persons=5)
    torch.testing.assert_close(program(more), model(more))


def test_round_trip_of_a_checkpoint() -> None:
    torch.manual_seed(0)
    first, second = make_tiny(), make_tiny()
    inputs = make_inputs()
    assert not torch.equal(first(inputs).pose_6d, second(inputs).pose_6d)
    load_checkpoint_state(second, checkpoint_state(first))
    assert all(map(torch.equal, first(inputs), second(inputs)))
    assert "trunk.norm.weight" in checkpoint_state(first)
    assert "fc1.weight" in checkpoint_state(first)


def test_counters_may_be_absent_or_extra() -> None:
    model = make_tiny()
    state = checkpoint_state(model)
    del state["trunk.norm.num_batches_tracked"]
    state["trunk.folded.num_batches_tracked"] = torch.tensor(3)
    load_checkpoint_state(model, state)


def test_a_checkpoint_that_does_not_fit_changes_nothing_and_is_explained() -> None:
    model = make_tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in checkpoint_state(model).items()}
    del state["fc1.bias"], state["trunk.norm.weight"]
    state["module.fc1.bias"] = torch.zeros(8)
    state["init_cam"] = torch.zeros(3)
    with pytest.raises(ValueError, match="does not fit") as caught:
        load_checkpoint_state(model, state)
    message = str(caught.value)
    assert "2 missing: fc1.bias, trunk.norm.weight" in message
    assert "1 unexpected: module.fc1.bias" in message
    assert "1 misshapen: init_cam 3 instead of 1x3" in message
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_long_lists_are_cut_with_their_count() -> None:
    model = make_tiny()
    extra = {f"extra{i:02d}": torch.zeros(1) for i in range(25)}
    with pytest.raises(ValueError, match=r"25 unexpected: extra00, .*, extra19 and 5 more$"):
        load_checkpoint_state(model, checkpoint_state(model) | extra)


def test_names_shared_by_backbone_and_head_are_an_error() -> None:
    model = make_tiny(prefix="")
    model.backbone.add_module("fc1", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"share names .* fc1.bias, fc1.weight"):
        checkpoint_names(model)


def test_backbones_by_name() -> None:
    assert {"resnet50", "hrnet_w48_concatenated", "hrnet_w48_classification"} <= set(BACKBONES)
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet51'; known are .*resnet50"):
        build_backbone("resnet51")


def test_normalised_crops() -> None:
    crop = torch.zeros(1, 2, 1, 3, dtype=torch.uint8)
    crop[0, 1, 0] = torch.tensor([255, 0, 51])
    maps = ImageNormaliser()(crop)
    assert maps.shape == (1, 3, 2, 1)
    expected = [(1.0 - 0.485) / 0.229, (0.0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(maps[0, :, 1, 0], torch.tensor(expected))


def test_crops_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match=r"uint8 .* got torch.float32"):
        ImageNormaliser()(torch.zeros(1, 2, 2, 3))
    with pytest.raises(ValueError, match=r"\(N, H, W, 3\), got \(1, 3, 2, 2\)"):
        ImageNormaliser()(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
