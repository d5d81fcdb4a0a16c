from typing import Any

import pytest
import torch
from helpers.head_problem import HeadProblem
from torch import nn

from dualhmr.adaptation.fast_head import AffineHead


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("reads_box_info", [False, True])
def test_there_and_back(reads_box_info: bool, hidden: int) -> None:
    problem = HeadProblem.of(reads_box_info=reads_box_info, hidden=hidden)
    head = problem.affine
    assert head.input_count == problem.head_input.shape[1]
    parameters = head.parameters(head.matrices)
    torch.testing.assert_close(parameters, problem.parameters, rtol=0, atol=0)
    assert list(parameters) == list(problem.parameters)
    assert not any(matrix.requires_grad for matrix in head.matrices.values())


def test_for_persons_with_heads_of_their_own() -> None:
    problem = HeadProblem.of()
    head = problem.affine
    two = {name: torch.stack([matrix, 2 * matrix]) for name, matrix in head.matrices.items()}
    for name, parameter in head.parameters(two).items():
        expected = problem.parameters[name]
        torch.testing.assert_close(parameter, torch.stack([expected, 2 * expected]))


def test_decoders_of_other_names() -> None:
    layers = nn.ModuleDict(
        {
            "fc1": nn.Linear(9, 6),
            "fc2": nn.Linear(6, 6),
            "one": nn.Linear(6, 3),
            "two": nn.Linear(6, 1),
        }
    )
    parameters = dict(layers.named_parameters())
    head = AffineHead.from_parameters(
        parameters, start=torch.zeros(4), iterations=2, decoders=("one", "two")
    )
    assert head.input_count == 5
    torch.testing.assert_close(
        head.parameters(head.matrices), {n: p.detach() for n, p in parameters.items()}
    )


def test_what_is_no_such_head() -> None:
    parameters = HeadProblem.of().parameters

    def make(**changes: Any) -> None:
        arguments = {"parameters": parameters, "start": torch.zeros(157), "iterations": 3}
        arguments |= changes
        AffineHead.from_parameters(arguments.pop("parameters"), **arguments)

    make()
    with pytest.raises(ValueError, match="at least one iteration, got 0"):
        make(iterations=0)
    with pytest.raises(ValueError, match="start has 150 numbers, the decoders make 157"):
        make(start=torch.zeros(150))
    fewer = {name: p for name, p in parameters.items() if name != "fc2.bias"}
    with pytest.raises(ValueError, match=r"missing are \['fc2.bias'\], unexpected are \[\]"):
        make(parameters=fewer)
    with pytest.raises(ValueError, match=r"unexpected are \['fc3.weight'\]"):
        make(parameters=parameters | {"fc3.weight": torch.zeros(1)})
