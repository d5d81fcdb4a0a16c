"""Replays, and products without TF32."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dualhmr.adaptation.fast_head.cuda_graph import (
    MAX_WARM_UPS,
    CudaReplay,
    EagerReplay,
    replay_for,
    without_tf32,
)


def test_eager_replays() -> None:
    counter = torch.zeros(())
    again = EagerReplay(warm_ups=2).capture(lambda: counter.add_(1) and None)
    assert float(counter) == 2
    again()
    assert float(counter) == 3
    assert isinstance(replay_for(torch.device("cpu")), EagerReplay)


def test_graphs_are_of_their_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured and replayed on cuda:1 while cuda:0 is the current device."""
    current, graphs = [0], list[int]()

    @contextmanager
    def device(chosen: torch.device) -> Iterator[None]:
        before, current[0] = current[0], chosen.index
        yield
        current[0] = before

    @contextmanager
    def graph(_: object, pool: int, stream: SimpleNamespace, **__: object) -> Iterator[None]:
        assert (current[0], pool, stream.device) == (1, 1, 1)
        yield

    class Graph:
        def replay(self) -> None:
            graphs.append(current[0])

    def stream() -> SimpleNamespace:
        return SimpleNamespace(device=current[0], wait_stream=lambda _: None)

    fakes = {"device": device, "graph": graph, "CUDAGraph": Graph, "Stream": stream}
    fakes |= {"current_stream": stream, "stream": lambda _: nullcontext()}
    fakes |= {"graph_pool_handle": lambda: current[0]}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    done: list[int] = []
    again = CudaReplay(torch.device("cuda", 1)).capture(lambda: done.append(current[0]))
    assert done == [1] * (MAX_WARM_UPS + 1)
    again()
    assert graphs == [1]


@contextmanager
def precision(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    yield
    setattr(owner, name, before)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("owner", [torch.backends.cuda.matmul, torch.backends.cudnn])
def test_without_tf32(owner: Any, before: bool) -> None:
    with precision(owner, "allow_tf32", before):
        with without_tf32():
            assert owner.allow_tf32 is False
        assert owner.allow_tf32 is before
        with pytest.raises(ZeroDivisionError), without_tf32():
            1 / 0  # noqa: B018
        assert owner.allow_tf32 is before


def test_without_tf32_where_it_was_set_the_newer_way() -> None:
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("an older PyTorch")
    cudnn = torch.backends.cudnn
    with (
        precision(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
        precision(cudnn.conv, "fp32_precision", "tf32"),
        precision(cudnn.rnn, "fp32_precision", "ieee"),  # then there is no answer of the older way
    ):
        with without_tf32():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert cudnn.conv.fp32_precision == "tf32"
