"""Replays, and products without TF32."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from dualhmr.adaptation.fast_head.cuda_graph import EagerReplay, replay_for, without_tf32


def test_eager_replays() -> None:
    counter = torch.zeros(())
    again = EagerReplay(warm_ups=2).capture(lambda: counter.add_(1) and None)
    assert float(counter) == 2
    again()
    assert float(counter) == 3
    assert isinstance(replay_for(torch.device("cpu")), EagerReplay)


@contextmanager
def precision(name: str, value: object) -> Iterator[None]:
    before = getattr(torch.backends.cuda.matmul, name)
    setattr(torch.backends.cuda.matmul, name, value)
    yield
    setattr(torch.backends.cuda.matmul, name, before)


@pytest.mark.parametrize("before", [False, True])
def test_without_tf32(before: bool) -> None:
    matmul = torch.backends.cuda.matmul
    with precision("allow_tf32", before):
        with without_tf32():
            assert matmul.allow_tf32 is False
        assert matmul.allow_tf32 is before
        with pytest.raises(ZeroDivisionError), without_tf32():
            1 / 0  # noqa: B018
        assert matmul.allow_tf32 is before


def test_without_tf32_where_it_was_set_the_newer_way() -> None:
    matmul = torch.backends.cuda.matmul
    try:
        before = matmul.fp32_precision
    except AttributeError:
        pytest.skip("an older PyTorch")
    with precision("fp32_precision", "tf32"):
        with without_tf32():
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    assert matmul.fp32_precision == before
