"""The compiled fitter against `adapt` in double precision; and the file that it reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.small_bundle import write_small_bundle

from dualhmr import Recoverer, open_bundle
from dualhmr.adaptation.adapt import adapt
from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.body.files import read_body
from dualhmr.bundle import HEAD_WEIGHTS, MANIFEST, Bundle
from dualhmr.engines import open_networks
from dualhmr.example import example
from dualhmr.files import sha256
from dualhmr.networks import HeadOutput
from dualhmr.person import PersonEvidence, observe_person, run_frozen_networks
from dualhmr.person_fitting.compiled_fitter import CompiledFitter
from dualhmr.person_fitting.torch_fitter import TorchFitter


def evidence_of(bundle: Bundle) -> PersonEvidence:
    image, keypoints = example()
    height, width = image.shape[:2]
    observed = observe_person(keypoints, 0, float(np.hypot(height, width)), (width / 2, height / 2))
    return run_frozen_networks(image, observed, open_networks(bundle), bundle.manifest)


def in_double(fitter: TorchFitter, evidence: PersonEvidence) -> Any:
    """A loss function in double precision, and its parameters."""
    fitter._body = fitter._body.to(dtype=torch.float64)
    fitter._network.double()
    single = evidence._replace(
        features=np.asarray(evidence.features, np.float64),
        rotations=np.asarray(evidence.rotations, np.float64),
        betas=np.asarray(evidence.betas, np.float64),
    )
    view = type(evidence.observed.view)(
        *(np.asarray(part, np.float64) for part in evidence.observed.view)
    )
    observed = evidence.observed
    single = single._replace(
        observed=observed._replace(
            view=view,
            xy=observed.xy.astype(np.float64),
            confidence=observed.confidence.astype(np.float64),
        ),
        inputs={name: np.asarray(array, np.float64) for name, array in evidence.inputs.items()},
    )
    return single, fitter.loss_function(fitter.tensors(single))


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
def test_the_default_networks_in_double_precision(name: str) -> None:
    bundle, body = open_bundle(), read_body()
    manifest = bundle.manifest
    fitter = TorchFitter(bundle, body, device="cpu", scope="head")
    evidence, loss_function = in_double(fitter, evidence_of(bundle))
    schedule = manifest.schedule.schedule(name, weights=manifest.weights)
    found = CompiledFitter(bundle, body, dtype=np.float64).adapt_head(evidence, schedule)
    expected = adapt(fitter.parameters, loss_function, schedule)
    assert found.loss_history == pytest.approx(expected.loss_history, rel=1e-6)
    assert (found.best_step, found.stop_reason) == (expected.best_step, expected.stop_reason)
    for mine, output in zip(found.outputs, expected.outputs, strict=True):
        assert isinstance(output, HeadOutput)
        np.testing.assert_allclose(mine.estimate, torch.cat(output, 1)[0], atol=1e-6)  # type: ignore[attr-defined]
        np.testing.assert_allclose(mine.rotations, output.rotations[0], atol=1e-6)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


def changed(
    original: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> Path:
    """A copy of a bundle with other weights of the head."""
    shutil.copytree(original, folder)
    path = folder / HEAD_WEIGHTS
    state = safetensors.torch.load_file(path)
    change(state)
    safetensors.torch.save_file(state, path)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][HEAD_WEIGHTS] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision(original: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    def cast(state: dict[str, torch.Tensor]) -> None:
        state |= {name: tensor.to(dtype) for name, tensor in state.items()}

    folder = changed(original, tmp_path / "other", cast)
    found, expected = (
        Recoverer(folder, adaptation=adaptation).recover(*example())
        for adaptation in ("numba", "torch")
    )
    assert found.loss_history[0] == pytest.approx(expected.loss_history[0], rel=1e-4)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fc2.bias"), r"do not fit the network: fc2.bias is None, expected \("),
        (lambda s: s.update(more=torch.ones(2)), r"more is \(2,\), expected None"),
        (
            lambda s: s.update({"fc1.weight": torch.ones(8, 3)}),
            "its first layer reads 3 numbers",
        ),
        (lambda s: s["init_cam"].fill_(torch.nan), "init_cam holds numbers that are not finite"),
        (lambda s: s.update({"fc2.bias": torch.ones(2, dtype=torch.int64)}), "weights are I64"),
    ],
)
def test_weights_of_another_head(
    original: Path,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], object],
    message: str,
) -> None:
    folder = changed(original, tmp_path / "other", change)
    with pytest.raises(ValueError, match=message) as caught:
        Recoverer(folder)
    assert str(folder / HEAD_WEIGHTS) in str(caught.value)
