from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from dualhmr_training.batches import in_parts, some_of


class Persons(NamedTuple):
    name: str
    nothing: None
    betas: Tensor
    inputs: dict[str, Tensor]


def persons(count: int) -> Persons:
    numbers = torch.arange(count)
    return Persons("people", None, numbers[:, None] + torch.zeros(10), {"number": numbers})


@pytest.mark.parametrize(
    ("count", "at_once", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 3, [2]), (0, 3, [])]
)
def test_parts_are_everybody_in_order(count: int, at_once: int, sizes: list[int]) -> None:
    whole = persons(count)
    parts = list(in_parts(whole, at_once))
    assert [len(part.betas) for part in parts] == sizes
    assert [number for part in parts for number in part.inputs["number"]] == [*range(count)]
    for part in parts:
        assert (part.name, part.nothing) == ("people", None)
        assert torch.equal(part.betas[:, 0], part.inputs["number"].float())


def test_some_persons_by_number() -> None:
    some = some_of(persons(5), torch.tensor([3, 3, 0]))
    assert some.inputs["number"].tolist() == [3, 3, 0]
    assert some.betas[:, 4].tolist() == [3, 3, 0]
