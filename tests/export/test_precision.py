from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.small_bundle import IMAGE_SPEC, MANIFEST, SPEC, upright
from onnx import TensorProto

from dualhmr.bundle import NetworkSpec
from dualhmr.networks.regressor import AUXILIARY_OUTPUTS, FrozenAuxiliary
from dualhmr_export.onnx_files import DTYPES, OPSETS, export_onnx, in_precision
from dualhmr_export.verify import emulate_bfloat16
from dualhmr_export.write_bundle import example_inputs

ELEMENT = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
# Half a unit in the last place, some layers deep.
CLOSE = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}


Exported = Callable[[NetworkSpec, str], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Writes a network to ONNX, once for all tests that ask for it."""
    folder = tmp_path_factory.mktemp("graphs")

    def export(spec: NetworkSpec, precision: str) -> Path:
        path = folder / f"{spec.backbone}_{precision}.onnx"
        if not path.exists():
            network, example = upright(spec, 1), example_inputs(MANIFEST)
            frozen = FrozenAuxiliary(in_precision(network, precision, example))
            given = {name: example[name] for name in frozen.reads}
            export_onnx(frozen, given, AUXILIARY_OUTPUTS, path, opset=OPSETS[precision])
        return path

    return export


@pytest.mark.parametrize("spec", [SPEC, IMAGE_SPEC], ids=["keypoints", "image"])
@pytest.mark.parametrize("precision", DTYPES)
def test_graphs_are_strongly_typed(spec: NetworkSpec, precision: str, exported: Exported) -> None:
    model = onnx.load(exported(spec, precision))
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == OPSETS[precision]
    types = {each.name: each.type.tensor_type.elem_type for each in model.graph.input}
    assert {types.pop("image", TensorProto.UINT8)} == {TensorProto.UINT8}
    outputs = [each.type.tensor_type.elem_type for each in model.graph.output]
    assert {*types.values(), *outputs} == {TensorProto.FLOAT}
    weights = {each.name: each for each in model.graph.initializer}
    kinds = {
        name: {weights[each].data_type for node in found for each in node.input if each in weights}
        for name, found in {
            "backbone": [n for n in model.graph.node if "backbone" in "".join(n.input)],
            "head": [n for n in model.graph.node if "head.fc2" in "".join(n.input)],
        }.items()
    }
    assert kinds == {"backbone": {ELEMENT[precision]}, "head": {TensorProto.FLOAT}}


@pytest.mark.parametrize("precision", DTYPES)
def test_close_to_float32(precision: str) -> None:
    network, example = upright(IMAGE_SPEC, 1), example_inputs(MANIFEST)
    example["image"] = torch.randint(0, 256, example["image"].shape, dtype=torch.uint8)
    reference = network.encode(example)
    rounded = in_precision(network, precision, example).encode(example)
    error = (rounded - reference).norm() / reference.norm()
    assert rounded.dtype == torch.float32
    assert error < CLOSE[precision]
    if precision != "fp32":
        assert error > CLOSE[precision] / 100
    torch.testing.assert_close(network.encode(example), reference, rtol=0, atol=0)


def arithmetic_in_bfloat16(model: onnx.ModelProto) -> set[str]:
    """Kinds of nodes, except for the roundings, whose outputs are bfloat16."""
    values = onnx.shape_inference.infer_shapes(model).graph.value_info
    names = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.BFLOAT16}
    return {n.op_type for n in model.graph.node if names & {*n.output}} - {"Cast"}


def test_arithmetic_in_bfloat16_is_seen(exported: Exported) -> None:
    assert "Relu" in arithmetic_in_bfloat16(onnx.load(exported(SPEC, "bf16")))


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="unknown precision 'int8'; known are fp32, fp16, bf16"):
        in_precision(upright(SPEC, 1), "int8", example_inputs(MANIFEST))


@pytest.mark.parametrize("spec", [SPEC, IMAGE_SPEC], ids=["keypoints", "image"])
def test_bfloat16_by_rounding_is_what_pytorch_computes_in_bfloat16(
    spec: NetworkSpec, exported: Exported
) -> None:
    import onnxruntime

    rewritten = emulate_bfloat16(exported(spec, "bf16"))
    assert not arithmetic_in_bfloat16(onnx.load_from_string(rewritten))
    session = onnxruntime.InferenceSession(rewritten, providers=["CPUExecutionProvider"])
    network, example = upright(spec, 1), example_inputs(MANIFEST)
    example["image"] = torch.randint(0, 256, example["image"].shape, dtype=torch.uint8)
    feed = {each.name: example[each.name].numpy() for each in session.get_inputs()}
    outputs = dict(zip(AUXILIARY_OUTPUTS, session.run(None, feed), strict=True))
    with torch.no_grad():
        frozen = FrozenAuxiliary(in_precision(network, "bf16", example))
        expected = frozen(*(example[name] for name in frozen.reads))
        exact = FrozenAuxiliary(network)(*(example[name] for name in frozen.reads))
    for name, tensor, reference in zip(AUXILIARY_OUTPUTS, expected, exact, strict=True):
        off = np.abs(outputs[name] - tensor.numpy()).max()
        # Sums are rounded in another order: nearer to PyTorch's bfloat16 than that is to float32.
        assert off <= 0.5 * float((tensor - reference).abs().max()) + 1e-6
