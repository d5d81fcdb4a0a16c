"""ONNX files that a bundle may not hold: each is refused before an engine sees it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.onnx_bundles import edit_graph, rename_output, replace_output
from helpers.small_bundle import write_small_bundle
from helpers.small_graph import write_graph
from onnx import TensorProto, helper, numpy_helper

from dualhmr import Recoverer, open_bundle
from dualhmr.engines import OnnxRuntimeNetwork, open_networks
from dualhmr.engines.onnx_check import check_onnx
from dualhmr.example import example

Change = Callable[[onnx.ModelProto], object]
make = helper.make_node


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "small"))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "small.onnx")


def changed(path: Path, change: Change) -> Path:
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def external(
    location: str,
    *,
    inside: str = "initializer",
    data_type: int = TensorProto.FLOAT,
    **more: str,
) -> Change:
    """A weight that lies in another file: in a graph's list, a node, or a node of a graph in it."""

    def change(model: onnx.ModelProto) -> None:
        tensor = TensorProto(name="far", data_type=data_type, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in ({"location": location, "length": "4"} | more).items():
            tensor.external_data.add(key=key, value=value)
        constant = make("Constant", [], ["far"], value=tensor)
        if inside == "initializer":
            model.graph.initializer.append(tensor)
        elif inside == "node":
            model.graph.node.insert(0, constant)
        else:
            out = helper.make_tensor_value_info("far", TensorProto.FLOAT, [1])
            branch = helper.make_graph([constant], "branch", [], [out])
            model.graph.node.append(make("If", ["yes"], ["x"], then_branch=branch))

    return change


@pytest.mark.parametrize(
    "location",
    [
        "weights.bin",
        "../weights.bin",
        "/etc/passwd",
        "link.bin",
        "head.safetensors",
        "*/_ORT_MEM_ADDR_/*",
        "",
    ],
)
def test_weights_in_other_files(graph: Path, location: str) -> None:
    (graph.parent / "weights.bin").write_bytes(np.float32([1]).tobytes())
    (graph.parent / "link.bin").symlink_to(graph.parent / "weights.bin")
    content = graph.read_bytes()
    for inside in ("initializer", "node", "branch"):
        graph.write_bytes(content)
        path = changed(graph, external(location, inside=inside))
        with pytest.raises(ValueError, match=r"small\.onnx .* data of 'far' lies outside of the f"):
            OnnxRuntimeNetwork(path)


def test_weights_in_the_graph_s_own_data_file(graph: Path) -> None:
    (graph.parent / "small.onnx.data").write_bytes(np.float32([1, 2]).tobytes())
    content = graph.read_bytes()
    for offset in ("0", "4"):
        graph.write_bytes(content)
        check_onnx(changed(graph, external("small.onnx.data", offset=offset)))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"offset": "5"}, "has 4 bytes, but lies at 5 to 9 of small.onnx.data, which has 8"),
        ({"offset": "-4"}, "lies outside of the file, at"),
        ({"length": "8"}, "has 4 bytes, but lies at 0 to 8"),
        ({"length": ""}, "lies outside of the file, at"),
        ({"offset": "1" * 30}, "lies outside of the file, at"),
        ({"basepath": "/etc"}, "lies outside of the file, at"),
        ({"location": "./small.onnx.data"}, "and not in small.onnx.data"),
        ({"data_type": TensorProto.INT32}, "the integers of 'far' lie outside"),
        ({"inside": "node"}, "the data of 'far' lies outside of the file"),
    ],
)
def test_places_that_are_not_in_the_data_file(
    graph: Path, more: dict[str, Any], expected: str
) -> None:
    (graph.parent / "small.onnx.data").write_bytes(np.float32([1, 2]).tobytes())
    path = changed(graph, external(**{"location": "small.onnx.data"} | more))
    with pytest.raises(ValueError, match=expected):
        check_onnx(path)


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def test_what_protobuf_reads_as_external(graph: Path) -> None:
    """Values are cut to 32 bits, and parts of a message that occurs twice are merged."""
    content = graph.read_bytes()
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[1]).SerializeToString()
    for location in (b"\x01", b"\x81\x80\x80\x80\x10"):  # 1 and 2**32 + 1
        far = field(5, tensor + bytes([14 << 3]) + location)
        graph.write_bytes(content + field(7, far))
        with pytest.raises(ValueError, match="2 graphs, expected one"):
            check_onnx(graph)
        graph.write_bytes(field(7, far))
        with pytest.raises(ValueError, match="outside of the file"):
            check_onnx(graph)


def test_a_bundle_whose_weights_are_not_listed(folder: Path) -> None:
    """The hash of the graph is right, and its weights could change unnoticed."""

    def move_out(model: onnx.ModelProto) -> None:
        onnx.external_data_helper.convert_model_to_external_data(
            model, location="w.bin", size_threshold=0, convert_attribute=True
        )
        onnx.external_data_helper.write_external_data_tensors(model, str(folder))

    edit_graph(folder, "auxiliary.onnx", move_out)
    assert (folder / "w.bin").is_file()
    with pytest.raises(ValueError, match=r"auxiliary\.onnx .* lies outside of the file"):
        Recoverer(folder)


def test_a_bundle_with_a_data_file_that_is_not_listed(folder: Path) -> None:
    data = folder / "auxiliary.onnx.data"
    data.write_bytes(b"1234")
    with pytest.raises(ValueError, match=r"auxiliary\.onnx\.data is not one of the bundle's files"):
        Recoverer(folder)
    data.unlink()


def tensor(shape: list[int], data_type: int = TensorProto.FLOAT, raw: bytes = b"") -> TensorProto:
    return TensorProto(name="odd", data_type=data_type, dims=shape, raw_data=raw)


def with_initializer(value: TensorProto) -> Change:
    return lambda model: model.graph.initializer.append(value)


def with_nodes(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Change:
    def change(model: onnx.ModelProto) -> None:
        arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
        model.graph.initializer.extend(arrays)
        model.graph.node.extend(nodes)

    return change


def loop() -> onnx.NodeProto:
    info = helper.make_tensor_value_info
    inputs = [info("turn", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])]
    outputs = [info("on", TensorProto.BOOL, [])]
    body = helper.make_graph([make("Identity", ["go"], ["on"])], "body", inputs, outputs)
    return make("Loop", ["turns", ""], [], body=body)


def nested(depth: int) -> onnx.GraphProto:
    nodes = [make("If", ["yes"], [], then_branch=nested(depth - 1))] if depth else []
    return helper.make_graph(nodes, "g", [], [])


def wide_input(shape: list[int | str]) -> Change:
    info = helper.make_tensor_value_info("wide", TensorProto.FLOAT, shape)
    return lambda model: model.graph.input.append(info)


def with_function(model: onnx.ModelProto) -> None:
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("own", "f", ["x"], ["x"], [], opsets))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_initializer(tensor([10**6, 10**6])), r"shape \[1000000, 1000000\], but 0 bytes"),
        (with_initializer(tensor([2], raw=bytes(4))), "but 4 bytes of data"),
        (with_initializer(tensor([2**62] * 3, raw=bytes(4))), "but 4 bytes of data"),
        (with_initializer(tensor([-1])), r"type 1 and shape \[-1\]"),
        (with_initializer(tensor([1] * 33, raw=bytes(4))), "type 1 and shape"),
        (with_initializer(tensor([1], TensorProto.STRING)), "type 8"),
        (with_initializer(tensor([1], 99, bytes(4))), "type 99"),
        (lambda m: m.graph.sparse_initializer.add(dims=[10**9, 10**9]), "sparse tensors"),
        (with_function, "functions"),
        (lambda m: m.training_info.add(), "training information"),
        (with_nodes(make("EPContext", [], ["x"], domain="com.microsoft")), "'EPContext' of 'com"),
        (with_nodes(make("Evil", [], ["x"], domain="evil.x")), "not an ONNX operator"),
        (
            with_nodes(make("ConstantOfShape", ["s"], ["x"]), s=np.array([10**12])),
            r"ConstantOfShape makes a tensor of shape \[1000000000000\]",
        ),
        (with_nodes(make("Expand", ["box_info", "s"], ["x"]), s=np.array([2**20] * 2)), "Expand"),
        (with_nodes(make("Tile", ["box_info", "s"], ["x"]), s=np.array([1, 2**40])), "Tile"),
        (
            with_nodes(
                make("Constant", [], ["s"], value_ints=[2**31, 4]),
                make("ConstantOfShape", ["s"], ["x"]),
            ),
            "ConstantOfShape",
        ),
        (with_nodes(loop(), turns=np.array(2**62)), "a loop takes 4611686018427387904 turns"),
        (with_nodes(make("If", ["yes"], [], then_branch=nested(12))), "nested more than 8"),
        (wide_input(["N", 2**40]), r"'wide' has shape \[1099511627776\]"),
        (wide_input([2**10] * 3), "'wide' has shape"),
    ],
)
def test_graphs_that_are_refused(graph: Path, change: Change, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        OnnxRuntimeNetwork(changed(graph, change))
    assert str(caught.value).startswith(str(graph))
    assert len(str(caught.value)) < 1000


def test_typed_data_is_counted(graph: Path) -> None:
    """Numbers may stand in fields of their own type, packed, instead of in raw bytes."""
    for values, kind in ([0.5] * 6, TensorProto.FLOAT), ([1, -2, 300] * 2, TensorProto.INT64):
        check_onnx(changed(graph, with_initializer(helper.make_tensor("t", kind, [2, 3], values))))
    short = helper.make_tensor("t", TensorProto.INT64, [2, 3], [1] * 6)
    short.dims[0] = 3
    with pytest.raises(ValueError, match=r"'t' has shape \[3, 3\], but 6 bytes"):
        check_onnx(changed(graph, with_initializer(short)))


def test_every_file_that_is_cut_or_changed_is_refused_or_opens(graph: Path) -> None:
    """Nothing but ValueError, whatever the bytes are."""
    content = graph.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content[: rng.integers(1, len(content) + 1)])
        for at in rng.integers(0, len(damaged), rng.integers(0, 4)):
            damaged[at] = rng.integers(256)
        graph.write_bytes(damaged)
        try:
            check_onnx(graph)
        except ValueError as error:
            assert len(str(error)) < 1000  # noqa: PT017


def test_what_passes_is_what_onnxruntime_reads(graph: Path) -> None:
    """ONNX Runtime's own format is not ONNX: it is never taken for it."""
    options = onnxruntime.SessionOptions()
    ort = graph.with_name("copy.onnx")
    options.optimized_model_filepath = str(ort)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="damaged"):
        OnnxRuntimeNetwork(ort)


# What networks of bundles read and return.


def constant(name: str, array: np.ndarray) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(array, "new"))
        replace_output(model, name, [make("Identity", ["new"], [name])])

    return change


def scaled(name: str, factor: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.float32([factor]), "factor"))
        replace_output(model, name, [make("Mul", [f"{name}_before", "factor"], [name])])

    return change


def twice_as_wide(model: onnx.ModelProto) -> None:
    parts = ["features_before"] * 2
    replace_output(model, "features", [make("Concat", parts, ["features"], axis=1)])
    (output,) = model.graph.output
    output.type.tensor_type.shape.dim[1].dim_value *= 2


def extra_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("evil", 1, ["N", 3]))


def as_double(model: onnx.ModelProto) -> None:
    replace_output(model, "betas", [make("Cast", ["betas_before"], ["betas"], to=11)])
    (output,) = [each for each in model.graph.output if each.name == "betas"]
    output.type.tensor_type.elem_type = 11


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("backbone.onnx", lambda m: rename_output(m, "features", "feats"), "lacks the outputs fea"),
        ("auxiliary.onnx", lambda m: rename_output(m, "betas", "b"), "lacks the outputs betas"),
        ("backbone.onnx", extra_input, "reads evil, but networks read"),
        (
            "backbone.onnx",
            twice_as_wide,
            r"gives features float32 \(N, 32\), expected .* \(N, 16\)",
        ),
        ("auxiliary.onnx", as_double, "betas is of type"),
    ],
)
def test_networks_of_other_names_and_shapes(
    folder: Path, file: str, change: Change, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Recoverer(edit_graph(folder, file, change))
    assert str(folder / file) in str(caught.value)


def test_networks_that_are_exchanged(folder: Path) -> None:
    backbone, auxiliary = (onnx.load(folder / f) for f in ("backbone.onnx", "auxiliary.onnx"))
    edit_graph(folder, "backbone.onnx", lambda m: m.CopyFrom(auxiliary))
    edit_graph(folder, "auxiliary.onnx", lambda m: m.CopyFrom(backbone))
    with pytest.raises(ValueError, match=r"backbone\.onnx lacks the outputs features"):
        Recoverer(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("file", "name"), [("backbone.onnx", "features"), ("auxiliary.onnx", "rotations")]
)
def test_results_that_are_not_finite(folder: Path, file: str, name: str, value: float) -> None:
    recoverer = Recoverer(edit_graph(folder, file, scaled(name, value)))
    with pytest.raises(ValueError, match=f"gives {name} that are not finite") as caught:
        recoverer.recover(*example())
    assert str(folder / file) in str(caught.value)


def test_results_of_another_shape_than_declared(folder: Path) -> None:
    edit_graph(folder, "auxiliary.onnx", constant("betas", np.zeros((1, 5), np.float32)))
    with pytest.raises((ValueError, RuntimeError), match=r"auxiliary\.onnx") as caught:
        Recoverer(folder).recover(*example())
    assert type(caught.value) in (ValueError, RuntimeError)


def test_pytorch_is_checked_too(original: Path) -> None:
    networks = open_networks(open_bundle(original), "torch")
    keypoints = np.full((2, 23, 3), np.nan, np.float32)
    inputs = {"keypoints": keypoints, "box_info": np.zeros((2, 3), np.float32)}
    with pytest.raises(ValueError, match=r"backbone\.safetensors gives features that are not fin"):
        networks.backbone(inputs)
