"""Putting fragments together to one graph, each constant and each computation in it once.

A loop's body sees what is outside of it. So constants lie outside, one copy for all bodies, and
so does what a body would compute anew in every round from nothing but what stays the same.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from dualhmr_export.adaptation_graph.fragment import Fragment, Names, as_outputs, renamed


class LoopPlan(NamedTuple):
    """How a fragment is repeated."""

    name: str
    trips: str
    """The most rounds, a value of the graph."""
    condition: str
    """Whether to begin at all, a value of the graph; the body makes one of that meaning first."""
    carried: Names
    """What is handed on from round to round, and the values of the graph that it starts from."""
    scanned: tuple[str, ...]
    """What is put down in every round."""


class Assembly:
    """A graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._made: dict[bytes, Sequence[str]] = {}
        self._outside: set[str] = {""}

    def input(self, name: str) -> str:
        """Says that the graph is given this."""
        self._outside.add(name)
        return name

    def constant(self, array: npt.NDArray[np.generic]) -> str:
        """The name of a constant."""
        return self._constant(numpy_helper.from_array(np.asarray(array), "constant"))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of what one node makes."""
        node = helper.make_node(operator, inputs, [""], **attributes)
        node.output[0] = f"{operator.lower()}_{len(self.nodes)}"
        return self._place(node)[0]

    def inline(self, fragment: Fragment, given: Names, *, prefix: str) -> Names:
        """Computes a fragment once."""
        names = self._constants(fragment)
        for original, node in renamed(fragment, given, names, prefix):
            names |= dict(zip(original.output, self._place(node), strict=True))
        return self._results(fragment, names)

    def loop(self, fragment: Fragment, given: Names, plan: LoopPlan) -> Names:
        """Computes a fragment again and again; what is carried in the end, and what was put down.

        What it reads is given, but for what is carried; what stays the same moves outside.
        """
        inside = {name: f"{plan.name}/{name}" for name in plan.carried}
        names, body = self._constants(fragment), []
        for original, node in renamed(fragment, given | inside, names, plan.name):
            made = node.output
            if self._outside.issuperset(node.input):
                made = self._place(node)
            else:
                body.append(node)
            names |= dict(zip(original.output, made, strict=True))
        results = self._results(fragment, names)
        wanted = [next(iter(results)), *plan.carried, *plan.scanned]
        ends = as_outputs(body, [results[name] for name in wanted], plan.name)
        types = {each.name: each.type for each in fragment.graph.input}
        made_types = dict(
            zip(fragment.makes, (each.type for each in fragment.graph.output), strict=True)
        )
        starts = [
            helper.make_tensor_value_info(f"{plan.name}/round", TensorProto.INT64, ()),
            helper.make_tensor_value_info(f"{plan.name}/before", TensorProto.BOOL, ()),
            *(helper.make_value_info(inside[name], types[name]) for name in plan.carried),
        ]
        outputs = [
            helper.make_value_info(end, made_types[name])
            for end, name in zip(ends, wanted, strict=True)
        ]
        after = {name: f"{plan.name}_{name}" for name in wanted[1:]}
        self.nodes.append(
            helper.make_node(
                "Loop",
                [plan.trips, plan.condition, *plan.carried.values()],
                list(after.values()),
                name=plan.name,
                body=helper.make_graph(body, plan.name, starts, outputs),
            )
        )
        self._outside |= set(after.values())
        return after

    def constants_in_use(self) -> list[onnx.TensorProto]:
        """Those that a node reads, in a loop's body or outside."""
        bodies = [attribute.g for node in self.nodes for attribute in node.attribute]
        nodes = [*self.nodes, *(node for body in bodies for node in body.node)]
        read = {name for node in nodes for name in node.input}
        return [each for name, each in self._initializers.items() if name in read]

    def _place(self, node: onnx.NodeProto) -> Sequence[str]:
        """Adds a node outside, unless what it computes is there; the names of what it makes."""
        key = helper.make_node(node.op_type, node.input, [], domain=node.domain)
        key.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
        signature = key.SerializeToString(deterministic=True) + bytes([len(node.output)])
        if signature not in self._made:
            self.nodes.append(node)
            self._made[signature] = list(node.output)
            self._outside |= set(node.output)
        return self._made[signature]

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
        return dict(zip(fragment.makes, outputs, strict=True))
