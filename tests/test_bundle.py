import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.small_bundle import write_small_bundle

from dualhmr import Recoverer, open_bundle
from dualhmr.bundle import FORMAT_VERSION, MANIFEST


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle / MANIFEST
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def test_the_default_bundle_is_whole_and_small() -> None:
    bundle = open_bundle()
    assert bundle.manifest.main.reads == ("keypoints", "box_info")
    assert sum(path.stat().st_size for path in bundle.folder.iterdir()) < 25e6


@pytest.mark.parametrize("file", ["backbone.onnx", "auxiliary.onnx", "head.safetensors"])
def test_damage_truncation_and_absence(bundle: Path, file: str) -> None:
    path = bundle / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{file} is damaged or was replaced: its sha256 is"):
        open_bundle(bundle)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="damaged or was replaced"):
        open_bundle(bundle)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {file}; copy the whole folder"):
        open_bundle(bundle)


def test_newer_format(bundle: Path) -> None:
    edit(bundle, lambda plain: plain.update(format_version=FORMAT_VERSION + 1, novelty=1))
    with pytest.raises(ValueError, match="format version 2, this dualhmr reads up to 1; install"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.update(format="zip"), "lacks format 'dualhmr-bundle'"),
        (lambda plain: plain.update(colour="blue"), "unknown Manifest field colour"),
        (lambda plain: plain.pop("camera"), "lacks the field camera"),
        (lambda plain: plain["main"].update(iterations="many"), "main.iterations is 'many'"),
        (lambda plain: plain["main"].update(hidden=2**63), "hidden is 9223372036854775808, exp"),
        (lambda plain: plain["main"].update(iterations=0), "iterations is 0, expected 1 to 100"),
        (lambda plain: plain["main"]["backbone_options"].update(blocks=2**63), "blocks is 92"),
        (
            lambda plain: plain["main"]["backbone_options"].update(blocks=99, feature_count=4000),
            "make a network of gigabytes",
        ),
        (lambda plain: plain.update(crop="x" * 10_000), "unknown crop convention 'xxx"),
        (lambda plain: plain["weights"].update(keypoint_2d=1), "unknown weights field keypoint_2d"),
        (lambda plain: plain["files"].update({"../evil": "00"}), "unknown are \\['../evil'\\]"),
        (lambda plain: plain["files"].pop("backbone.onnx"), "lacks \\['backbone.onnx'\\]"),
    ],
)
def test_damaged_manifest(
    bundle: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit(bundle, change)
    with pytest.raises(ValueError, match=message):
        open_bundle(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]"])
def test_manifest_that_is_no_manifest(bundle: Path, content: bytes) -> None:
    (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        open_bundle(bundle)


def test_folder_that_is_no_bundle(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"is not a bundle: it has no manifest\.json"):
            open_bundle(folder)


def test_specs_that_do_not_fit_the_weights(bundle: Path) -> None:
    edit(bundle, lambda plain: plain["main"].update(hidden=9))
    with pytest.raises(ValueError, match=r"head\.safetensors: the weights do not fit"):
        Recoverer(bundle)


def test_bundle_without_pytorch_weights_still_runs_in_onnxruntime(bundle: Path) -> None:
    for file in ("backbone.safetensors", "auxiliary.safetensors"):
        (bundle / file).unlink()
        edit(bundle, lambda plain, file=file: plain["files"].pop(file))  # type: ignore[misc]
    Recoverer(bundle)
    with pytest.raises(FileNotFoundError, match=r"has graphs only, without backbone\.safetensors"):
        Recoverer(bundle, backend="torch")


def test_bundle_of_smpl_networks_asks_for_the_body(bundle: Path) -> None:
    edit(bundle, lambda plain: plain.update(body="smpl"))
    with pytest.raises(ValueError, match="trained on body 'smpl', which does not come with"):
        Recoverer(bundle)


def set_in(plain: dict[str, Any], path: str, value: object) -> None:
    *owners, name = path.split(".")
    for owner in owners:
        plain = plain[owner]
    plain[name] = value


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_batch", 0, "expected 1 to 4096"),
        ("max_batch", -3, "expected 1 to 4096"),
        ("max_batch", 2**40, "expected 1 to 4096"),
        ("image_size", [224, 224], r"image_size is \(224, 224\), but crops are 256 by 192"),
        ("schedule.adam_rate", math.nan, "schedule.adam_rate is nan, expected a finite number"),
        ("schedule.tolerance", -1.0, "schedule.tolerance is -1.0"),
        ("schedule.descent_max_norm", math.inf, "descent_max_norm is inf"),
        ("weights.rotations", math.inf, "weights.rotations is inf"),
        ("schedule.name", "nope", "unknown schedule 'nope'; known are paper, trained"),
        ("camera", "pinhole", "unknown camera 'pinhole'; known are cliff, hmr"),
        ("focal_length", "long", "unknown focal length 'long'; known are diagonal, hmr2"),
        ("precision", "int4", "unknown precision 'int4'; known are fp32, fp16, bf16, int8"),
        ("keypoint_set", "body_9000", "unknown keypoints 'body_9000'"),
    ],
)
def test_values_that_no_bundle_has(bundle: Path, field: str, value: object, message: str) -> None:
    edit(bundle, lambda plain: set_in(plain, field, value))
    with pytest.raises(ValueError, match=message) as caught:
        open_bundle(bundle)
    assert str(bundle / MANIFEST) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("main.hidden", 4096), ("main.backbone_options.feature_count", 4096)]
)
def test_networks_that_the_files_cannot_hold_get_no_memory(
    bundle: Path, field: str, value: int
) -> None:
    """Manifests of a few hundred bytes describe hundreds of megabytes of weights."""
    edit(bundle, lambda plain: set_in(plain, field, value))
    with pytest.raises(ValueError, match=r"do not fit the network: the manifest describes \d{8,} "):
        Recoverer(bundle, scope="all")


def test_options_that_a_backbone_does_not_have(bundle: Path) -> None:
    edit(bundle, lambda plain: set_in(plain, "main.backbone_options.colour", 3))
    with pytest.raises(ValueError, match=r"a keypoint_trunk cannot be built: .*colour"):
        Recoverer(bundle, adaptation="torch")
