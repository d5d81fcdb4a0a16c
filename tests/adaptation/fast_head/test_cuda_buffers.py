"""Copies of an object's tensors that are filled anew, and replays."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.cuda_graph import (
    EagerReplay,
    own,
    refill,
    replay_for,
    without_tf32,
)


class Pair(NamedTuple):
    a: Tensor
    b: object


class Thing:
    def __init__(
        self, value: float, *, name: str = "thing", constant: Tensor | None = None
    ) -> None:
        self.name = name
        self.pair = Pair(torch.full((2,), value), None)
        self.parts: dict[str, object] = {
            "list": [torch.full((3,), value), 1],
            "partial": partial(torch.add, torch.full((1,), value), other=torch.full((1,), value)),
        }
        self.constant = torch.ones(4) if constant is None else constant

    def total(self) -> Tensor:
        numbers = self.parts["list"]
        added = self.parts["partial"]
        assert isinstance(numbers, list)
        assert isinstance(added, partial)
        return self.pair.a.sum() + numbers[0].sum() + added().sum() + self.constant.sum()


def test_filled_from_another() -> None:
    first, second = Thing(1.0), Thing(2.0)
    mine = own(first.total)
    refill(mine, second.total)
    assert (float(first.total()), float(mine()), float(second.total())) == (11.0, 18.0, 18.0)
    refill(mine, first.total)
    assert float(mine()) == 11.0


def test_what_is_shared_is_not_copied() -> None:
    constant = torch.ones(2, 2)
    holder = Pair(constant, None)
    first = Thing(1.0, constant=constant.flatten())
    mine = own(first, shared=[holder])
    assert mine.constant is first.constant
    assert mine.pair.a is not first.pair.a
    other = Thing(3.0, constant=constant.flatten())
    refill(mine, other)
    assert float(mine.total()) == float(other.total())
    assert own(holder, shared=[holder]) is holder
    assert own((holder, torch.ones(1)), shared=[holder])[0] is holder


def test_same_address_in_every_fill() -> None:
    mine = own(Thing(1.0))
    places = (mine.pair.a.data_ptr(), mine.constant.data_ptr())
    for value in range(3):
        refill(mine, Thing(float(value)))
    assert places == (mine.pair.a.data_ptr(), mine.constant.data_ptr())


def test_what_is_not_alike() -> None:
    mine = own(Thing(1.0))
    before = mine.pair.a.clone()
    with pytest.raises(ValueError, match=r"it.name is 'other', expected 'thing'; capture anew"):
        refill(mine, Thing(5.0, name="other"))
    with pytest.raises(
        ValueError, match=r"it.constant is a tensor \(5,\) .* expected a tensor \(4,"
    ):
        refill(mine, Thing(5.0, constant=torch.ones(5)))
    with pytest.raises(ValueError, match=r"constant is a tensor \(4,\) of torch.float64"):
        refill(mine, Thing(5.0, constant=torch.ones(4).double()))
    odd = Thing(5.0)
    odd.parts["more"] = torch.ones(1)
    with pytest.raises(ValueError, match=r"has or lacks it.parts.more; capture anew"):
        refill(mine, odd)
    untensored = Thing(5.0)
    untensored.pair = untensored.pair._replace(b=torch.ones(1))
    with pytest.raises(ValueError, match=r"it.pair.b is a tensor \(1,\) of .*, expected None"):
        refill(mine, untensored)
    assert torch.equal(mine.pair.a, before)


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
