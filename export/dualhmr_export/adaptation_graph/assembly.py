"""Joins fragments into one graph that holds each constant and each computation once.

A loop's body can read values from outside of it. So constants lie outside, one copy for all bodies,
and so do computations of a body whose inputs all come from outside: they are the same in every
trip.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from dualhmr_export.adaptation_graph.fragment import (
    Fragment,
    Names,
    as_outputs,
    inputs_of,
    renamed,
)


class LoopPlan(NamedTuple):
    """How a fragment is repeated."""

    name: str
    trips: str
    """The largest number of trips, a value of the graph."""
    condition: str
    """Whether to begin, a value of the graph; the body's first result is whether to go on."""
    carried: Names
    """The body's names of values that a trip hands to the next, with those of the graph before."""
    scanned: tuple[str, ...]
    """The body's names of results that are stacked over all trips."""


class Assembly:
    """A graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._placed: dict[bytes, Sequence[str]] = {}
        self._outside: set[str] = {""}

    def input(self, name: str) -> str:
        """Declares an input of the graph."""
        self._outside.add(name)
        return name

    def constant(self, array: npt.NDArray[np.generic]) -> str:
        """Adds a constant; returns its name."""
        return self._constant(numpy_helper.from_array(np.asarray(array), "constant"))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""
        node = helper.make_node(operator, inputs, [""], **attributes)
        node.output[0] = f"{operator.lower()}_{len(self.nodes)}"
        return self._place(node)[0]

    def inline(self, fragment: Fragment, inputs: Names, *, prefix: str) -> Names:
        """Adds a fragment that is computed once; returns the graph's names of its results."""
        names = self._constants(fragment)
        for original, node in renamed(fragment, inputs, names, prefix):
            names |= dict(zip(original.output, self._place(node), strict=True))
        return self._results(fragment, names)

    def loop(self, fragment: Fragment, inputs: Names, plan: LoopPlan) -> Names:
        """Adds a loop over a fragment, which reads `inputs` and what is carried.

        Returns the graph's names of the carried values after the last trip and the stacked ones.
        """
        inside = {name: f"{plan.name}/{name}" for name in plan.carried}
        names, body = self._constants(fragment), []
        for original, node in renamed(fragment, inputs | inside, names, plan.name):
            outputs = node.output
            if self._outside.issuperset(node.input):
                outputs = self._place(node)
            else:
                body.append(node)
            names |= dict(zip(original.output, outputs, strict=True))
        results = self._results(fragment, names)
        wanted = [next(iter(results)), *plan.carried, *plan.scanned]
        ends = as_outputs(body, [results[name] for name in wanted], plan.name)
        types = {each.name: each.type for each in fragment.graph.input}
        result_types = dict(
            zip(fragment.results, (each.type for each in fragment.graph.output), strict=True)
        )
        starts = [
            helper.make_tensor_value_info(f"{plan.name}/trip", TensorProto.INT64, ()),
            helper.make_tensor_value_info(f"{plan.name}/before", TensorProto.BOOL, ()),
            *(helper.make_value_info(inside[name], types[name]) for name in plan.carried),
        ]
        body_outputs = [
            helper.make_value_info(end, result_types[name])
            for end, name in zip(ends, wanted, strict=True)
        ]
        after = {name: f"{plan.name}_{name}" for name in wanted[1:]}
        self.nodes.append(
            helper.make_node(
                "Loop",
                [plan.trips, plan.condition, *plan.carried.values()],
                list(after.values()),
                name=plan.name,
                body=helper.make_graph(body, plan.name, starts, body_outputs),
            )
        )
        self._outside |= set(after.values())
        return after

    def constants_read_by(self, nodes: Iterable[onnx.NodeProto]) -> list[onnx.TensorProto]:
        """Those that one of the nodes reads, in a loop's body or outside."""
        read = {name for node in nodes for name in inputs_of(node)}
        return [each for name, each in self._initializers.items() if name in read]

    def _place(self, node: onnx.NodeProto) -> Sequence[str]:
        """Adds a node outside of loops, or finds an equal one; returns its outputs' names."""
        key = helper.make_node(node.op_type, node.input, [], domain=node.domain)
        key.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        signature = key.SerializeToString(deterministic=True) + bytes([len(node.output)])
        if signature not in self._placed:
            self.nodes.append(node)
            self._placed[signature] = list(node.output)
            self._outside |= set(node.output)
        return self._placed[signature]

    def _constants(self, fragment: Fragment) -> Names:
        return {each.name: self._constant(each) for each in fragment.graph.initializer}

    def _constant(self, tensor: onnx.TensorProto) -> str:
        array = numpy_helper.to_array(tensor)
        facts = f"{array.dtype} {array.shape} ".encode()
        name = f"constant_{hashlib.sha256(facts + array.tobytes()).hexdigest()[:16]}"
        self._initializers[name] = numpy_helper.from_array(array, name)
        self._outside.add(name)
        return name

    @staticmethod
    def _results(fragment: Fragment, names: Names) -> Names:
        outputs = [names[output.name] for output in fragment.graph.output]
        return dict(zip(fragment.results, outputs, strict=True))
