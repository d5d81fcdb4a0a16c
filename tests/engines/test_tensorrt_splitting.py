from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualhmr.engines.tensorrt.run import in_batches


@given(persons=st.integers(0, 20), largest=st.integers(1, 8))
def test_parts_give_what_the_whole_gives(persons: int, largest: int) -> None:
    sizes: list[int] = []

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        sizes.append(len(inputs["a"]))
        return {"sum": inputs["a"] + inputs["b"][:, None], "b": inputs["b"]}

    inputs = {"a": np.arange(3 * persons).reshape(persons, 3), "b": np.arange(persons)}
    whole = run(inputs)
    sizes.clear()
    parts = in_batches(run, inputs, largest=largest, join=np.concatenate)
    assert list(parts) == list(whole)
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value)
    assert max(sizes) <= largest
    assert len(sizes) == max(1, -(-persons // largest))


def test_inputs_of_different_persons_are_refused() -> None:
    inputs = {"a": np.zeros((2, 3)), "b": np.zeros(3)}
    with pytest.raises(ValueError, match=r"numbers are \{'a': 2, 'b': 3\}"):
        in_batches(dict, inputs, largest=8, join=np.concatenate)
