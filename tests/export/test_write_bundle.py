import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from helpers.small_bundle import IMAGE_SPEC, MANIFEST, SPEC, upright, write_small_bundle

from dualhmr import Recoverer, open_bundle
from dualhmr.bundle import NetworkSpec
from dualhmr.engines import OnnxRuntimeNetwork, open_networks
from dualhmr.files import sha256
from dualhmr.networks.regressor import AUXILIARY_OUTPUTS, FrozenAuxiliary
from dualhmr_export.bundle_folder import new_bundle, save_networks, write_torch_bundle
from dualhmr_export.onnx_files import export_onnx
from dualhmr_export.write_bundle import write_bundle


@pytest.fixture(scope="module", params=[SPEC, IMAGE_SPEC], ids=["keypoints", "image"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec: NetworkSpec = request.param
    return write_small_bundle(tmp_path_factory.mktemp("b") / "b", main=spec, auxiliary=spec)


def random_inputs(persons: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(persons)
    return {
        "image": rng.integers(0, 256, (persons, 256, 192, 3), dtype=np.uint8),
        "keypoints": rng.uniform(0, 1, (persons, 23, 3)).astype(np.float32),
        "box_info": rng.normal(size=(persons, 3)).astype(np.float32),
    }


def test_round_trip(bundle: Path) -> None:
    opened = open_bundle(bundle)
    expected = dataclasses.replace(
        MANIFEST,
        main=opened.manifest.main,
        auxiliary=opened.manifest.auxiliary,
        files={path.name: sha256(path) for path in bundle.iterdir() if path.suffix != ".json"},
    )
    assert opened.manifest == expected


@pytest.mark.parametrize("persons", [1, 5])
def test_onnx_equals_pytorch_at_any_batch(bundle: Path, persons: int) -> None:
    opened = open_bundle(bundle)
    inputs = random_inputs(persons)
    in_onnx, in_torch = (open_networks(opened, name) for name in ("onnxruntime", "torch"))
    for onnx_network, torch_network in (
        (in_onnx.backbone, in_torch.backbone),
        (in_onnx.auxiliary, in_torch.auxiliary),
    ):
        assert onnx_network.reads == torch_network.reads
        outputs, reference = onnx_network(inputs), torch_network(inputs)
        assert outputs.keys() == reference.keys()
        for name, output in outputs.items():
            assert len(output) == persons
            np.testing.assert_allclose(output, reference[name], atol=2e-5)


def test_graphs_name_no_file_of_the_computer_they_were_made_on(bundle: Path) -> None:
    for path in bundle.glob("*.onnx"):
        assert b".py" not in path.read_bytes(), path


def test_inputs_and_outputs_are_named(bundle: Path) -> None:
    graph = onnx.load(bundle / "auxiliary.onnx").graph
    assert [output.name for output in graph.output] == ["rotations", "betas", "camera"]
    opened = open_bundle(bundle)
    assert tuple(each.name for each in graph.input) == opened.manifest.auxiliary.reads


def test_both_kinds_of_network_recover(bundle: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    keypoints = rng.uniform(50, 150, (17, 2))
    recovery = Recoverer(bundle).recover(image, keypoints, max_steps=5)
    assert np.isfinite(recovery.vertices).all()
    assert min(recovery.loss_history[0]) < recovery.loss_history[0][0]


def test_image_networks_see_the_image(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "b", main=IMAGE_SPEC, auxiliary=IMAGE_SPEC)
    keypoints = np.random.default_rng(0).uniform(50, 150, (17, 2))
    recoverer = Recoverer(bundle)
    dark, bright = (
        recoverer.recover(np.full((300, 200, 3), grey, np.uint8), keypoints, max_steps=0).vertices
        for grey in (0, 255)
    )
    assert np.abs(dark - bright).max() > 1e-5


def test_does_not_overwrite_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    with pytest.raises(FileExistsError, match="already there"):
        write_bundle(folder, upright(SPEC, 1), upright(SPEC, 2), MANIFEST)
    folder.rmdir()

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("dualhmr_export.bundle_folder.save_weights", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bundle(folder, upright(SPEC, 1), upright(SPEC, 2), MANIFEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_weights_are_stored_as_they_are_computed_with(stored: torch.dtype, tmp_path: Path) -> None:
    network = upright(SPEC, 1)
    write_torch_bundle(tmp_path / "b", network, upright(SPEC, 2), MANIFEST, stored=stored)
    expected = upright(SPEC, 1).head.fc1.weight.to(stored).float()
    torch.testing.assert_close(network.head.fc1.weight.data, expected, atol=0, rtol=0)
    file = safetensors.torch.load_file(tmp_path / "b" / "head.safetensors")
    assert file["fc1.weight"].dtype == stored
    torch.testing.assert_close(file["fc1.weight"].float(), expected, atol=0, rtol=0)


def test_graphs_with_weights_of_half_the_size_compute_the_same(tmp_path: Path) -> None:
    network = upright(SPEC, 1)
    for tensor in network.state_dict().values():
        tensor.copy_(tensor.half())  # numbers that float16 holds
    inputs = {name: torch.from_numpy(random_inputs(2)[name]) for name in SPEC.reads}
    results = []
    for stored in (torch.float32, torch.float16):
        path = tmp_path / f"{stored}.onnx"
        frozen = FrozenAuxiliary(network)
        export_onnx(frozen, inputs, AUXILIARY_OUTPUTS, path, opset=18, stored=stored)
        results.append(OnnxRuntimeNetwork(path)({name: inputs[name].numpy() for name in inputs}))
    for name, values in results[0].items():
        np.testing.assert_array_equal(results[1][name], values)
    weights = [onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]
    assert any(each.dtype == np.float16 for each in weights)
    assert all(each.dtype != np.float32 or each.size <= 64 for each in weights)


def finished(folder: Path, finish: Callable[[Path], None]) -> None:
    with new_bundle(folder, MANIFEST, finish=finish) as staging:
        save_networks(staging, upright(SPEC, 1), upright(SPEC, 2), MANIFEST, stored=torch.float32)


def test_what_finishing_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        assert open_bundle(folder).manifest.name == "small"
        raise ValueError("out of bounds")

    with pytest.raises(ValueError, match="out of bounds"):
        finished(tmp_path / "b", refuse)
    assert list(tmp_path.iterdir()) == []


def test_what_finishing_adds_is_readable(tmp_path: Path) -> None:
    def add(folder: Path) -> None:
        (folder / "engines").mkdir(mode=0o700)
        (folder / "engines" / "a.engine").touch(mode=0o600)

    finished(tmp_path / "b", add)
    assert (tmp_path / "b" / "engines").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "b" / "engines" / "a.engine").stat().st_mode & 0o777 == 0o644
