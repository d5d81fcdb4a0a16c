"""HMR2.0's frozen part against a restatement in NumPy, which knows the release's tensors alone."""

import math
from collections import UserDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.network_checks import check_export, random_maps, shapes_in_table
from numpy.typing import NDArray

from dualhmr.networks import HMR2Features

Weights = Mapping[str, NDArray[np.float64]]
_erf = np.vectorize(math.erf, otypes=[float])


@pytest.fixture(scope="module")
def network() -> HMR2Features:
    """Two blocks, with norms and positions that are not trivial."""
    torch.manual_seed(0)
    network = HMR2Features(blocks=2).eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if "norm" in name:
            tensor.add_(0.3 * torch.randn(tensor.shape))
        if "pos_embed" in name:
            tensor.copy_(torch.randn(tensor.shape))
    return network


def norm(weights: Weights, name: str, x: NDArray, epsilon: float) -> NDArray:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(weights: Weights, name: str, x: NDArray) -> NDArray:
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)


def gelu(x: NDArray) -> NDArray:
    return x * (1 + _erf(x / np.sqrt(2))) / 2


def attention(query: NDArray, key: NDArray, value: NDArray, heads: int) -> NDArray:
    results = []
    for q, k, v in zip(
        *(np.split(part, heads, axis=1) for part in (query, key, value)), strict=True
    ):
        scores = np.exp(q @ k.T / np.sqrt(q.shape[1]))
        results.append(scores / scores.sum(1, keepdims=True) @ v)
    return np.concatenate(results, axis=1)


def tokens_of(weights: Weights, image: NDArray, blocks: int) -> NDArray:
    """Of one image (3, 256, 192): (192, 1280)."""
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    patches = [
        padded[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16].reshape(-1)
        for row in range(16)
        for column in range(12)
    ]
    kernel = weights["backbone.patch_embed.proj.weight"].reshape(1280, -1)
    x = np.stack(patches) @ kernel.T + weights["backbone.patch_embed.proj.bias"]
    positions = weights["backbone.pos_embed"][0]
    x = x + positions[1:] + positions[0]
    for number in range(blocks):
        at = f"backbone.blocks.{number}"
        qkv = linear(weights, f"{at}.attn.qkv", norm(weights, f"{at}.norm1", x, 1e-6))
        x = x + linear(weights, f"{at}.attn.proj", attention(*np.split(qkv, 3, axis=1), heads=16))
        wide = gelu(linear(weights, f"{at}.mlp.fc1", norm(weights, f"{at}.norm2", x, 1e-6)))
        x = x + linear(weights, f"{at}.mlp.fc2", wide)
    return norm(weights, "backbone.last_norm", x, 1e-6)


def decoded(weights: Weights, context: NDArray) -> NDArray:
    """(1024,) of the tokens of one image."""
    at = "smpl_head.transformer"
    x = weights[f"{at}.to_token_embedding.bias"] + weights[f"{at}.pos_embedding"][0]
    for number in range(6):
        itself, cross, mlp = (f"{at}.transformer.layers.{number}.{part}" for part in range(3))
        qkv = linear(weights, f"{itself}.fn.to_qkv", norm(weights, f"{itself}.norm", x, 1e-5))
        attended = attention(*np.split(qkv, 3, axis=1), heads=8)
        x = x + linear(weights, f"{itself}.fn.to_out.0", attended)
        query = linear(weights, f"{cross}.fn.to_q", norm(weights, f"{cross}.norm", x, 1e-5))
        key, value = np.split(linear(weights, f"{cross}.fn.to_kv", context), 2, axis=1)
        x = x + linear(weights, f"{cross}.fn.to_out.0", attention(query, key, value, heads=8))
        wide = gelu(linear(weights, f"{mlp}.fn.net.0", norm(weights, f"{mlp}.norm", x, 1e-5)))
        x = x + linear(weights, f"{mlp}.fn.net.3", wide)
    return x[0]


class InDouble(UserDict[str, Any]):
    """Weights in float64, each made when it is read: all together are a gigabyte."""

    def __getitem__(self, name: str) -> NDArray:
        return super().__getitem__(name).double().numpy()


def test_as_restated(network: HMR2Features) -> None:
    images = random_maps(2)
    with torch.no_grad():
        features = network(images).double().numpy()
    weights = InDouble(network.state_dict())
    for found, image in zip(features, images.double().numpy(), strict=True):
        expected = decoded(weights, tokens_of(weights, image, blocks=2))
        assert np.std(expected) > 0.5
        assert np.abs(found - expected).max() < 2e-5


def test_the_weight_of_the_query_s_embedding_has_no_effect(network: HMR2Features) -> None:
    images = random_maps(1)
    with torch.no_grad():
        before = network(images)
        weight = network.state_dict()["smpl_head.transformer.to_token_embedding.weight"]
        weight.add_(1.0)
        assert torch.equal(network(images), before)
        weight.sub_(1.0)


def test_another_size_of_image_is_an_error(network: HMR2Features) -> None:
    with pytest.raises(ValueError, match=r"takes images of 256x192 \(height x width\), got \(256"):
        network(random_maps(1, width=256))


def test_exports_with_any_batch_size() -> None:
    check_export(lambda: HMR2Features(blocks=1))


def test_tensors_are_those_of_the_release(shared_folder: Path) -> None:
    with torch.device("meta"):
        found = HMR2Features().state_dict()
    table = shapes_in_table(shared_folder / "formats" / "hmr2.tsv")
    frozen = ("backbone.", "smpl_head.transformer.")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        name: shape for name, shape in table.items() if name.startswith(frozen)
    }
