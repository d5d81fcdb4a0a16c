"""Copies of an object's tensors, filled from other objects."""

from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.tensor_tree import clone_tensors, copy_tensors_into


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
    mine = clone_tensors(first.total)
    copy_tensors_into(mine, second.total)
    assert (float(first.total()), float(mine()), float(second.total())) == (11.0, 18.0, 18.0)
    copy_tensors_into(mine, first.total)
    assert float(mine()) == 11.0


def test_what_is_shared_is_not_copied() -> None:
    constant = torch.ones(2, 2)
    holder = Pair(constant, None)
    first = Thing(1.0, constant=constant.flatten())
    mine = clone_tensors(first, shared=[holder])
    assert mine.constant is first.constant
    assert mine.pair.a is not first.pair.a
    other = Thing(3.0, constant=constant.flatten())
    copy_tensors_into(mine, other)
    assert float(mine.total()) == float(other.total())
    assert clone_tensors(holder, shared=[holder]) is holder
    assert clone_tensors((holder, torch.ones(1)), shared=[holder])[0] is holder


def test_same_address_in_every_fill() -> None:
    mine = clone_tensors(Thing(1.0))
    places = (mine.pair.a.data_ptr(), mine.constant.data_ptr())
    for value in range(3):
        copy_tensors_into(mine, Thing(float(value)))
    assert places == (mine.pair.a.data_ptr(), mine.constant.data_ptr())


def test_what_is_not_alike() -> None:
    mine = clone_tensors(Thing(1.0))
    before = mine.pair.a.clone()
    with pytest.raises(ValueError, match=r"it.name is 'other', expected 'thing'; capture anew"):
        copy_tensors_into(mine, Thing(5.0, name="other"))
    with pytest.raises(
        ValueError, match=r"it.constant is a tensor \(5,\) .* expected a tensor \(4,"
    ):
        copy_tensors_into(mine, Thing(5.0, constant=torch.ones(5)))
    with pytest.raises(ValueError, match=r"constant is a tensor \(4,\) of torch.float64"):
        copy_tensors_into(mine, Thing(5.0, constant=torch.ones(4).double()))
    odd = Thing(5.0)
    odd.parts["more"] = torch.ones(1)
    with pytest.raises(ValueError, match=r"has or lacks it.parts.more; capture anew"):
        copy_tensors_into(mine, odd)
    untensored = Thing(5.0)
    untensored.pair = untensored.pair._replace(b=torch.ones(1))
    with pytest.raises(ValueError, match=r"it.pair.b is a tensor \(1,\) of .*, expected None"):
        copy_tensors_into(mine, untensored)
    assert torch.equal(mine.pair.a, before)
