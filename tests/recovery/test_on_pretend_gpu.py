"""Recovering on a pretend GPU: the numbers of a CPU, and what is asked of the device for them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import pretend_cuda as pretended
from helpers.pretend_cuda import Counts, pretend_cuda

from dualhmr import Recovery
from dualhmr.adaptation.fast_head.cupy_kernels import cuda_kernels
from dualhmr.engines import EngineOptions
from dualhmr.example import example
from dualhmr.groups import group_sizes
from dualhmr.keypoints import Keypoints, network_keypoints
from dualhmr.person_fitting.torch_fitter import TorchFitter
from dualhmr.recoverer import Recoverer

MOST_NODES = {"prepare": 140, "step": 32, "last": 20, "describe": 70, "mesh": 30}
MOST_LAUNCHES, MOST_WAITS = 30, 10
"""Of a photograph. Half of the launches, and three of the waits, check that the networks' results
are finite; the other waits are one per four steps, and three for iterates, pseudo meshes and
mesh."""
BODY_WITHIN_M = 1e-4


@contextmanager
def gpu() -> Iterator[Counts]:
    cuda_kernels.cache_clear()
    with pretend_cuda() as counts:
        yield counts
    cuda_kernels.cache_clear()


def opened(**options: Any) -> Recoverer:
    return Recoverer(device="cuda:0", backend="torch", options=EngineOptions(**options))


def people(count: int) -> Keypoints:
    """The example's person, and others like it; in the networks' own set, captured on opening."""
    _, given = example()
    own = network_keypoints("body_23").set
    order = [given.set.names.index(name) for name in own.names if name in given.set.names]
    rows = [own.names.index(given.set.names[i]) for i in order]
    xy, confidence = np.zeros((1, 23, 2), np.float32), np.zeros((1, 23), np.float32)
    xy[:, rows], confidence[:, rows] = given.xy[:, order], given.confidence[:, order]
    keypoints = Keypoints(own, xy, confidence)
    shifts = np.arange(count, dtype=np.float32)[:, None, None]
    xy = np.repeat(keypoints.xy, count, 0) * (1 - 0.02 * shifts)
    return Keypoints(keypoints.set, xy, np.repeat(keypoints.confidence, count, 0))


@pytest.fixture(scope="module")
def expected() -> Recovery:
    """Five persons on the CPU."""
    return Recoverer(backend="torch").recover(example()[0], people(5))


def assert_same(found: Recovery, expected: Recovery) -> None:
    count = len(found.persons)
    np.testing.assert_allclose(found.vertices, expected.vertices[:count], atol=BODY_WITHIN_M)
    np.testing.assert_allclose(found.keypoints_2d, expected.keypoints_2d[:count], atol=0.01)
    within = 3 * BODY_WITHIN_M
    np.testing.assert_allclose(found.uncertainty, expected.uncertainty[:count], atol=within)
    for mine, theirs in zip(found.loss_history, expected.loss_history, strict=False):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_without_graphs_the_results_are_the_same(
    expected: Recovery, caplog: pytest.LogCaptureFixture
) -> None:
    image, _ = example()
    with gpu() as counts:
        recoverer = opened(cuda_graph=False)
        assert not counts.nodes
        for _ in range(2):
            assert_same(recoverer.recover(image, people(1)), expected)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_what_fails_on_opening_is_left_out_with_one_warning(
    expected: Recovery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("libnvrtc.so.13: cannot open shared object file")

    image, _ = example()
    monkeypatch.setattr(pretended._RawKernel, "__init__", broken)
    with gpu():
        recoverer = opened()
        assert [record.getMessage() for record in caplog.records] == [
            "steps run in PyTorch alone, slower, as a kernel failed: libnvrtc.so.13: cannot open "
            "shared object file"
        ]
        assert_same(recoverer.recover(image, people(1)), expected)
        monkeypatch.setattr(torch.cuda, "graph", broken)
        assert_same(recoverer.recover(image, people(4)), expected)
        kinds = [record.getMessage().partition(",")[0] for record in caplog.records[1:]]
        assert kinds == ["networks run without CUDA graphs", "steps run without CUDA graphs"]


@pytest.fixture(scope="module")
def on_gpu(expected: Recovery) -> Iterator[tuple[Recoverer, Counts]]:  # noqa: ARG001 on the CPU before
    """One that is opened once; tests that open their own come before those that use it."""
    with gpu() as counts:
        yield opened(), counts


def test_what_a_photograph_asks_of_the_device(
    expected: Recovery, on_gpu: tuple[Recoverer, Counts]
) -> None:
    image, (recoverer, counts) = example()[0], on_gpu
    _backbone, _auxiliary, prepare, descent, adam, last, describe, mesh = counts.nodes
    print(f"kernels of the graphs: {counts.nodes}")
    assert prepare <= MOST_NODES["prepare"]
    assert max(descent, adam) <= MOST_NODES["step"]
    assert last <= MOST_NODES["last"]
    assert describe <= MOST_NODES["describe"]
    assert mesh <= MOST_NODES["mesh"]
    asked = {}
    counts.nodes.clear()
    for count in (1, 4, 5):
        if count == 4:
            recoverer.recover(image, people(count))  # captures what this number needs
        counts.illegal.clear()
        counts.reset()
        assert_same(recoverer.recover(image, people(count)), expected)
        print(f"{count} persons: {counts}")
        asked[count] = counts.launches, counts.graphs, counts.waits.total()
        assert not counts.nodes
        assert not counts.illegal
    # A step each, the work before and after, two networks, the mesh; and four persons as one.
    assert asked[1][1] == asked[4][1] == expected.steps[0] + 6
    for launches, _, waits in (asked[1], asked[4]):
        assert launches <= MOST_LAUNCHES
        assert waits <= MOST_WAITS
    assert asked[5][1] == 2 * asked[1][1]  # four and one


def test_threads_may_share_a_recoverer_and_graphs_are_bounded(
    expected: Recovery, on_gpu: tuple[Recoverer, Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, (recoverer, counts) = example()[0], on_gpu
    monkeypatch.setattr("dualhmr.person_fitting.group_fitter._KEPT", 1)
    with ThreadPoolExecutor(2) as pool:

        def recover(count: int) -> Recovery:
            with pretended._Mode():  # a mode is a thread's own
                return recoverer.recover(image, people(count))

        for found in pool.map(recover, (1, 4)):
            assert_same(found, expected)
        assert not counts.illegal
        fitter = recoverer._pipeline.fitter
        assert isinstance(fitter, TorchFitter)
        assert fitter._groups is not None
        assert len(fitter._groups._captured) == 1


def test_a_person_who_fails_does_not_fail_the_others(
    expected: Recovery, on_gpu: tuple[Recoverer, Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    recoverer = on_gpu[0]
    networks = recoverer._pipeline.networks

    class Breaks:
        reads, runs_on = networks.backbone.reads, networks.runs_on

        def __call__(self, inputs: Any) -> Any:
            features = networks.backbone(inputs)["features"].clone()  # type: ignore[attr-defined]
            features[2, 5] = torch.nan
            return {"features": features}

    broken = replace(networks, backbone=Breaks())
    monkeypatch.setattr(recoverer, "_pipeline", replace(recoverer._pipeline, networks=broken))
    found = recoverer.recover(example()[0], people(4))
    assert found.persons.tolist() == [0, 1, 3]
    assert "before the first step" in found.skipped[0].reason
    np.testing.assert_allclose(found.vertices[:2], expected.vertices[:2], atol=BODY_WITHIN_M)


@pytest.mark.parametrize(
    ("persons", "groups"),
    [
        (0, []),
        (1, [(1, 1)]),
        (2, [(2, 4)]),
        (5, [(4, 4), (1, 1)]),
        (8, [(8, 16)]),
        (70, [(64, 64), (4, 4), (2, 4)]),
        (130, [(64, 64), (64, 64), (2, 4)]),
    ],
)
def test_groups(persons: int, groups: list[tuple[int, int]]) -> None:
    assert group_sizes(persons) == groups
