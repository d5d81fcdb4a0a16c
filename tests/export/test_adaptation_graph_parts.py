"""The parts of the adaptation's graph, one by one."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.adaptation_graph_cases import Case, normal
from onnx import TensorProto, helper

from dualhmr.adaptation.fast_head import TorchArithmetic
from dualhmr.adaptation.fast_head.head_gradients import OuterProducts
from dualhmr.adaptation.fast_head.rank_one_output import grid_quadrature
from dualhmr.adaptation.optimisers import Adam, Moments
from dualhmr.body.model import load_body
from dualhmr_export.adaptation_graph.fragment import simplify
from dualhmr_export.adaptation_graph.graph_arithmetic import GraphArithmetic
from dualhmr_export.adaptation_graph.problem import named_points


@pytest.mark.parametrize("count", [1, 13, 500, 2052])
@pytest.mark.parametrize("decades", [0.0, 3.0, 9.0])
def test_nodes_on_a_grid_stand_for_all_inputs(count: int, decades: float) -> None:
    inputs = normal(1, 1, count, seed=count).double()
    inputs = inputs * 10 ** (-decades * torch.rand(1, 1, count, dtype=torch.float64))
    inputs[..., : count // 3] = 0
    inputs[..., -1] = 1
    squares = inputs.square().squeeze()
    for epsilon in (3e-10, 1e-8):
        scale = torch.logspace(-19, 3, 60, dtype=torch.float64)
        roots = inputs.squeeze().abs() * scale[:, None] + epsilon
        expected = (squares / roots).sum(-1)
        for dtype, tolerance in ((torch.float64, 3e-7), (torch.float32, 1e-5)):
            nodes = grid_quadrature(inputs.to(dtype))
            found = nodes.response(scale[None, None].to(dtype), epsilon)[0, 0]
            torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0)


def test_arithmetic_is_that_of_pytorch() -> None:
    matrix, first = normal(1, 5, 7, seed=1), normal(1, 5, 7, seed=2)
    moments = Moments(first, first.square())
    gradient = OuterProducts(normal(1, 3, 5, seed=3), normal(1, 3, 7, seed=4))
    coefficients = Adam(1e-2).coefficients(4)
    value, after = GraphArithmetic().adam(matrix, moments, gradient, coefficients)
    expected, expected_after = TorchArithmetic().adam(matrix, moments, gradient, coefficients)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(tuple(after), tuple(expected_after))


def test_iterations_are_those_of_pytorch() -> None:
    head = Case("paper", iterations=3, reads_box_info=True, camera="cliff").problem().head
    matrices = {name: each[None] for name, each in head.matrices.items()}
    constant, gradient = normal(1, 1, 16, seed=1), normal(1, 157, seed=2)
    found, expected = (
        arithmetic.forward(matrices, constant, head.start, 3)
        for arithmetic in (GraphArithmetic(), TorchArithmetic())
    )
    torch.testing.assert_close(found[:2], expected[:2])
    torch.testing.assert_close(
        tuple(GraphArithmetic().backward(matrices, found, gradient)),
        tuple(TorchArithmetic().backward(matrices, expected, gradient)),
    )


def test_keypoints_that_a_body_has() -> None:
    body = load_body()
    names = named_points(body).names
    assert {"left_heel", "neck"} <= set(names)
    assert not [name for name in names if "hand" in name]
    bare = dataclasses.replace(body, keypoint_names=(), keypoint_regressor=None)
    with pytest.raises(ValueError, match="SMPL's table of keypoint vertices"):
        named_points(bare)


def test_simplified_graphs_compute_the_same() -> None:
    axis = onnx.numpy_helper.from_array(np.array([0]), "axis")
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["a"]),
        helper.make_node("Squeeze", ["a", "axis"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[1, 0]),
        helper.make_node("Gemm", ["c", "b"], ["y"]),
        helper.make_node("Gemm", ["b", "c"], ["z"], alpha=2.0),
        helper.make_node("Neg", ["z"], ["unread"]),
    ]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (None, None)) for name in "xyz"]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [axis])
    opset = [helper.make_opsetid("", 18)]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)

    def run() -> list[np.ndarray]:
        model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"x": x})

    before = run()
    simplify(graph)
    assert [node.op_type for node in graph.node] == ["Gemm", "Gemm"]
    for one, other in zip(before, run(), strict=True):
        np.testing.assert_array_equal(one, other)
