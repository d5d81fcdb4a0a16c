import builtins
import contextlib
import io
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from helpers.fake_bodies import (
    Arrays,
    body_of,
    random_arrays,
    smpl_pickle_content,
    write_smpl_npz,
    write_smpl_pickle,
)
from helpers.python2_pickle import Call, Global, Object, dumps_python2
from torch import Tensor

from dualhmr.body.arrays import JOINT_COUNT, JOINT_NAMES
from dualhmr.body.files import FREE_BODY
from dualhmr.body.model import Body, load_body


def tensors(body: Body) -> dict[str, Tensor]:
    return {name: value for name, value in vars(body).items() if isinstance(value, Tensor)}


def check_same(body: Body, expected: Body) -> None:
    assert tensors(body).keys() == tensors(expected).keys()
    for name, tensor in tensors(expected).items():
        assert torch.equal(tensors(body)[name], tensor), name
    assert body.parents == expected.parents


def without_imports(monkeypatch: pytest.MonkeyPatch, *refused: str) -> None:
    """Makes the import of some packages an error, also where they are loaded already."""
    real = builtins.__import__

    def guarded(name: str, *arguments: Any, **options: Any) -> Any:
        assert name.split(".")[0] not in refused, f"import of {name}"
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", guarded)
    for name in list(sys.modules):
        if name.split(".")[0] in refused:
            monkeypatch.delitem(sys.modules, name)


def test_the_free_body_comes_with_the_package() -> None:
    body = load_body()
    assert body.name == FREE_BODY
    assert body.beta_count == 10
    assert len(body.keypoint_names) == 23
    assert body.v_template.dtype == torch.float32
    torch.testing.assert_close(body.weights.sum(1), torch.ones(body.vertex_count))
    torch.testing.assert_close(body.joint_regressor.sum(1), torch.ones(JOINT_COUNT))
    assert body.keypoint_regressor is not None
    torch.testing.assert_close(body.keypoint_regressor.sum(1), torch.ones(23))


def test_the_free_body_stands_as_smpl_does() -> None:
    body = load_body()
    joints = dict(zip(JOINT_NAMES, body.joint_template, strict=True))
    assert joints["left_wrist"][0] > 0.3 > -0.3 > joints["right_wrist"][0]
    assert joints["head"][1] > joints["pelvis"][1] > joints["left_ankle"][1]
    assert joints["left_foot"][2] > joints["left_ankle"][2]
    # Counter-clockwise from outside: the enclosed volume is positive, that of a person.
    corners = body.v_template[body.faces].double()
    volume = float(torch.linalg.det(corners).sum() / 6)
    assert 0.03 < volume < 0.15


def test_npz_in_smpl_layout(tmp_path: Path) -> None:
    arrays = random_arrays()
    body = load_body(write_smpl_npz(tmp_path / "model.npz", arrays))
    assert body.name == "model"
    check_same(body, body_of(arrays, dtype=torch.float32))


@pytest.mark.parametrize("root", [2**32 - 1, -1, 0, 2**64 - 1])
def test_the_root_has_no_parent_however_it_is_written(tmp_path: Path, root: int) -> None:
    arrays = random_arrays()
    dtype = np.uint64 if root > 2**62 else np.int64
    table = arrays["kintree_table"].astype(dtype)
    table[0, 0] = root
    body = load_body(write_smpl_npz(tmp_path / "model.npz", arrays | {"kintree_table": table}))
    assert body.parents == body_of(arrays).parents


def test_own_keypoints_come_with_the_file(tmp_path: Path) -> None:
    arrays = random_arrays()
    own = {
        "name": np.array("mine"),
        "keypoint_names": np.array(["nose", "left_eye"]),
        "keypoint_regressor": np.eye(2, 60),
    }
    body = load_body(write_smpl_npz(tmp_path / "model.npz", arrays | own))
    assert body.name == "mine"
    assert body.keypoint_names == ("nose", "left_eye")
    assert torch.equal(body.keypoint_regressor, torch.eye(2, 60))


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_of_many_betas_the_first_ten_are_used(tmp_path: Path, suffix: str) -> None:
    arrays = random_arrays(betas=300, vertices=20)
    write = {".npz": write_smpl_npz, ".pkl": write_smpl_pickle}[suffix]
    body = load_body(write(tmp_path / f"model{suffix}", arrays))
    first = arrays | {"shapedirs": arrays["shapedirs"][..., :10]}
    check_same(body, body_of(first, dtype=torch.float32))


@pytest.mark.parametrize("old_objects", [True, False])
def test_pickle_of_python_2_is_read_without_chumpy_and_scipy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_objects: bool
) -> None:
    arrays = random_arrays()
    arrays["posedirs"] = np.asfortranarray(arrays["posedirs"])
    path = write_smpl_pickle(tmp_path / "SMPL_NEUTRAL.pkl", arrays, old_objects=old_objects)
    without_imports(monkeypatch, "chumpy", "scipy")
    body = load_body(path)
    assert body.name == "SMPL_NEUTRAL"
    check_same(body, body_of(arrays, dtype=torch.float32))
    assert "chumpy" not in sys.modules


def test_the_python_2_pickles_of_these_tests_are_pickles() -> None:
    arrays = random_arrays()
    content = {"plain": list(arrays.values()), "text": "caf\xe9", "numbers": (1, 300, -1, None)}
    loaded = pickle.loads(dumps_python2(content | {"set": {"a"}}), encoding="latin1")
    assert loaded["set"] == {"a"}
    assert loaded["text"] == content["text"]
    assert loaded["numbers"] == content["numbers"]
    for found, expected in zip(loaded["plain"], arrays.values(), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F", "K"])
def test_pickle_saved_again_by_python_3(tmp_path: Path, protocol: int, order: str) -> None:
    arrays = random_arrays()
    expected = body_of(arrays, dtype=torch.float32)
    saved: dict[str, Any] = dict(arrays)
    saved["posedirs"] = np.array(arrays["posedirs"], order="F" if order == "F" else "C")
    if order == "K":
        turned = np.ascontiguousarray(arrays["posedirs"].transpose(1, 0, 2))
        saved["posedirs"] = turned.transpose(1, 0, 2)
    saved["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    saved["weights"] = arrays["weights"].astype(">f8")
    saved["bs_type"] = "lrotmin"
    saved["scale"] = np.float64(1.5)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(saved, protocol=protocol))
    check_same(load_body(path), expected)


def test_sparse_matrices_sum_what_they_name_twice(tmp_path: Path) -> None:
    arrays = random_arrays()
    content = smpl_pickle_content(arrays)
    state = content["J_regressor"].state
    state["data"] = np.repeat(state["data"] / 2, 2)
    state["indices"] = np.repeat(state["indices"], 2)
    state["indptr"] = state["indptr"] * 2
    path = tmp_path / "model.pkl"
    path.write_bytes(dumps_python2(content))
    check_same(load_body(path), body_of(arrays, dtype=torch.float32))


def test_what_the_body_does_not_need_may_be_anything(tmp_path: Path) -> None:
    arrays = random_arrays()
    expected = body_of(arrays, dtype=torch.float32)
    objects = np.array([{"a": 1}], dtype=object)
    path = write_smpl_npz(tmp_path / "model.npz", arrays | {"part2num": objects})
    check_same(load_body(path), expected)
    content = smpl_pickle_content(arrays) | {"names": np.array(["a", "b"], dtype="S1")}
    tree = Object(Global("chumpy.ch_ops", "mean"), {"a": content["v_template"]})
    matrix = Object(Global("scipy.sparse.csr", "csr_matrix"), {"_shape": (2, 2)})
    content |= {"tree": tree, "other": matrix, "joint_names": ["pelvis", "hip"]}
    (tmp_path / "model.pkl").write_bytes(dumps_python2(content))
    check_same(load_body(tmp_path / "model.pkl"), expected)


def test_loading_does_not_warn(tmp_path: Path) -> None:
    # Read-only buffers of protocol 5, which PyTorch would complain about.
    arrays = {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in random_arrays().items()
    }
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(arrays, protocol=5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body = load_body(tmp_path / "model.pkl")
    check_same(body, body_of(arrays, dtype=torch.float32))


# What is wrong with a file, for both kinds.

Change = Callable[[Arrays], dict[str, Any]]


def changed(name: str, index: Any, value: float) -> Change:
    def change(arrays: Arrays) -> dict[str, Any]:
        array = arrays[name].astype(np.int64 if name in ("f", "kintree_table") else np.float64)
        array[index] = value
        return arrays | {name: array}

    return change


def replaced(name: str, value: Callable[[Any], Any]) -> Change:
    return lambda arrays: arrays | {name: value(arrays[name])}


BROKEN: list[tuple[Change, str]] = [
    (changed("v_template", (3, 1), np.nan), "v_template holds NaN or infinite"),
    (changed("shapedirs", (3, 1, 0), np.inf), "shapedirs holds NaN or infinite"),
    (changed("posedirs", (0, 0, 0), 1e300), "posedirs holds NaN or infinite"),
    (changed("weights", (0, 0), -np.inf), "weights holds NaN or infinite"),
    (changed("J_regressor", (0, 0), np.nan), "joint_regressor holds NaN or infinite"),
    (changed("f", (5, 2), 60), "faces name vertices 0 to 60, the body has 0 to 59"),
    (changed("f", (5, 2), -1), "faces name vertices -1 to 59"),
    (changed("kintree_table", (0, 4), 7), "kinematic tree .* is not a tree"),
    (changed("kintree_table", (0, 4), 4), "kinematic tree .* is not a tree"),
    (changed("kintree_table", (0, 4), -1), "kinematic tree .* is not a tree"),
    (changed("kintree_table", (0, 4), 2**32 - 1), "kinematic tree .* is not a tree"),
    (replaced("kintree_table", lambda a: a.T.copy()), r"kintree_table has shape \(24, 2\)"),
    (replaced("kintree_table", lambda a: a[:, :22].copy()), r"kintree_table has shape \(2, 22\)"),
    (replaced("kintree_table", lambda a: a * 1.0), "kintree_table holds float64, expected int"),
    (replaced("f", lambda a: a * 1.0), "f holds float64, expected integers"),
    (replaced("f", lambda a: a[:, :2].copy()), r"faces has shape \(100, 2\), expected \(100, 3\)"),
    (replaced("v_template", lambda a: a[:50].copy()), r"shapedirs has shape \(60, 3, 10\), exp"),
    (replaced("v_template", lambda a: a.T.copy()), r"v_template has shape \(3, 60\), expected"),
    (replaced("v_template", lambda _: np.array(1.0)), "index"),
    (replaced("shapedirs", lambda _: np.array(1.0)), "indices"),
    (replaced("posedirs", lambda a: a[..., :200].copy()), r"posedirs has shape \(60, 3, 200\)"),
    (replaced("J_regressor", lambda a: a[:22].copy()), r"joint_regressor has shape \(22, 60\)"),
    (replaced("weights", lambda a: a.T.copy()), r"weights has shape \(24, 60\)"),
]


def check_refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){re.escape(path.name)}.*{message}"):
        load_body(path)


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_broken_arrays(tmp_path: Path, change: Change, message: str) -> None:
    arrays = change(random_arrays())
    check_refused(write_smpl_npz(tmp_path / "model.npz", arrays), message)
    # A plain dict of arrays: the sparse form cannot hold every shape.
    (tmp_path / "model.pkl").write_bytes(dumps_python2(arrays))
    check_refused(tmp_path / "model.pkl", message)


@pytest.mark.parametrize(
    ("model", "joints"), [("SMPL-X", 55), ("SMPL-H", 52), ("MANO", 16), ("FLAME", 5)]
)
def test_other_models_are_refused_by_their_names(tmp_path: Path, model: str, joints: int) -> None:
    arrays = random_arrays()
    others: Arrays = {
        "v_template": arrays["v_template"],
        "shapedirs": arrays["shapedirs"],
        "posedirs": np.zeros((60, 3, 9 * (joints - 1))),
        "J_regressor": np.zeros((joints, 60)),
        "weights": np.zeros((60, joints)),
        "kintree_table": np.zeros((2, joints), np.int64),
        "f": arrays["f"],
    }
    message = rf"this is {model} \({joints} joints\); SMPL is needed: SMPL_NEUTRAL\.pkl from smpl"
    check_refused(write_smpl_npz(tmp_path / "SMPL_NEUTRAL.npz", others), message)
    check_refused(write_smpl_pickle(tmp_path / "model.pkl", others), message)
    del others["kintree_table"]
    check_refused(write_smpl_npz(tmp_path / "model.npz", others), message)


def test_star_is_refused_by_its_name(tmp_path: Path) -> None:
    arrays = random_arrays() | {"posedirs": np.zeros((60, 3, 93))}
    check_refused(write_smpl_npz(tmp_path / "model.npz", arrays), "this is STAR; SMPL is needed")


@pytest.mark.parametrize("name", random_arrays().keys())
def test_missing_arrays_are_named(tmp_path: Path, name: str) -> None:
    arrays = random_arrays()
    content = smpl_pickle_content(arrays)
    del arrays[name], content[name]
    check_refused(write_smpl_npz(tmp_path / "model.npz", arrays), f"it lacks {name}$")
    (tmp_path / "model.pkl").write_bytes(dumps_python2(content))
    check_refused(tmp_path / "model.pkl", f"it lacks {name}$")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"keypoint_regressor": np.eye(2, 60)}, r"keypoint_regressor has shape \(2, 60\), .*0"),
        ({"keypoint_names": np.array("nose")}, "0-d"),
        (
            {"keypoint_names": np.array(["nose"]), "keypoint_regressor": np.eye(1, 50)},
            r"keypoint_regressor has shape \(1, 50\), expected \(1, 60\)",
        ),
    ],
)
def test_broken_keypoints(tmp_path: Path, own: Arrays, message: str) -> None:
    check_refused(write_smpl_npz(tmp_path / "model.npz", random_arrays() | own), message)


@pytest.mark.parametrize("name", ["v_template", "f"])
def test_arrays_of_objects_and_strings_in_npz(tmp_path: Path, name: str) -> None:
    arrays = random_arrays()
    objects = arrays | {name: arrays[name].astype(object)}
    check_refused(write_smpl_npz(tmp_path / "model.npz", objects), f"{name}: .*object")
    strings = arrays | {name: arrays[name].astype(str)}
    check_refused(write_smpl_npz(tmp_path / "model.npz", strings), f"{name} holds <U.*expected")


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.999])
def test_truncated_files(tmp_path: Path, suffix: str, kept: float) -> None:
    write = {".npz": write_smpl_npz, ".pkl": write_smpl_pickle}[suffix]
    path = write(tmp_path / f"model{suffix}", random_arrays())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    check_refused(path, {".npz": "damaged, cut short", ".pkl": "not a readable"}[suffix])


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_files_with_flipped_bits_load_or_are_refused(tmp_path: Path, suffix: str) -> None:
    write = {".npz": write_smpl_npz, ".pkl": write_smpl_pickle}[suffix]
    path = write(tmp_path / f"model{suffix}", random_arrays(vertices=8, faces=3))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(ValueError):
            load_body(path)


def test_compressed_npz_and_its_damage(tmp_path: Path) -> None:
    arrays, path = random_arrays(), tmp_path / "model.npz"
    np.savez_compressed(path, **arrays)
    check_same(load_body(path), body_of(arrays, dtype=torch.float32))
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(bytes(content))
    check_refused(path, "damaged")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"\x93NUMPY" + bytes(200)), "not a zip file"),
        (lambda path: path.write_bytes(pickle.dumps({})), "not a zip file"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "it lacks v_template"),
    ],
)
def test_npz_that_is_something_else(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "model.npz"
    write(path)
    check_refused(path, message)


def test_npz_that_claims_more_than_it_has(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    path = write_smpl_npz(tmp_path / "model.npz", random_arrays() | {"weights": np.zeros(0)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("name.npy", buffer.getvalue())
    check_refused(path, "damaged")


def test_npz_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dualhmr.body.files._LARGEST_BYTES", 10_000)
    path = write_smpl_npz(tmp_path / "model.npz", random_arrays())
    check_refused(path, "bytes, too many: at most 10000 are read")


def test_no_file_and_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no body file at .*nowhere\.pkl"):
        load_body(tmp_path / "nowhere.pkl")
    with pytest.raises(FileNotFoundError, match="no body file at"):
        load_body(tmp_path)
    (tmp_path / "model.obj").touch()
    with pytest.raises(ValueError, match=r"ends in \.npz or \.pkl, not '\.obj'"):
        load_body(tmp_path / "model.obj")


def test_suffixes_in_capitals_and_paths_as_text(tmp_path: Path) -> None:
    arrays = random_arrays()
    path = write_smpl_pickle(tmp_path / "SMPL.PKL", arrays)
    check_same(load_body(str(path)), body_of(arrays, dtype=torch.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dict of arrays, got list"),
        (Object(Global("chumpy.ch", "Ch"), {}), "expected a dict of arrays, got ChumpyArray"),
    ],
)
def test_pickles_of_something_else(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "model.pkl").write_bytes(dumps_python2(content))
    check_refused(tmp_path / "model.pkl", message)


def sparse(**changes: Any) -> Object:
    state = smpl_pickle_content(random_arrays())["J_regressor"].state
    state |= changes
    return Object(Global("scipy.sparse.csc", "csc_matrix"), state)


BAD_VALUES: list[tuple[Any, str]] = [
    ("text", "J_regressor is a str, expected an array"),
    ([1, 2], "J_regressor is a list, expected an array"),
    (np.array(["a"]), "J_regressor is an array of dtype 'U1', expected real numbers"),
    (np.array([True]), "J_regressor is an array of dtype 'b1', expected real numbers"),
    (Object(Global("chumpy.ch", "Ch"), {}), "a chumpy expression without stored numbers"),
    (Object(Global("chumpy.ch", "Ch"), {"x": [1, 2]}), "a chumpy expression without"),
    (Object(Global("chumpy.ch", "Ch"), None, old=False), "a chumpy expression without"),
    (Object(Global("chumpy.ch", "Ch"), [1, 2], old=False), "a chumpy expression without"),
    (Object(Global("numpy", "ndarray"), {}), "J_regressor is an object without numbers"),
    (Global("numpy", "ndarray"), "J_regressor is a type, expected an array"),
    (Call(Global("scipy.sparse", "csr_matrix"), ()), "J_regressor is an object without numbers"),
    (Call(Global("scipy.sparse.csc", "csc_matrix"), (1, 2)), "an array without a shape"),
    (sparse(indptr=None), "a sparse matrix without indptr"),
    (sparse(data=[1, 2]), "a sparse matrix without data"),
    (sparse(_shape=None), "an array without a shape"),
    (sparse(_shape=(24, "60")), "an array of shape"),
    (sparse(_shape=(24, -60)), r"an array of shape \(24, -60\)"),
    (sparse(_shape=(24,)), "J_regressor is not enough values"),
    (sparse(_shape=(24, 61)), r"a damaged sparse matrix of shape \(24, 61\)"),
    (sparse(_shape=(23, 60)), r"a damaged sparse matrix of shape \(23, 60\)"),
    (sparse(_shape=(2**31 - 1, 60)), "a damaged sparse matrix"),
    (sparse(data=np.zeros(7)), "a damaged sparse matrix"),
    (sparse(indices=np.zeros((120, 1), np.int32)), "a damaged sparse matrix"),
    (sparse(indices=np.full(120, -1)), "a damaged sparse matrix"),
    (sparse(indices=np.zeros(120)), "a damaged sparse matrix"),
    (sparse(indptr=np.zeros(61, np.int32)), "a damaged sparse matrix"),
    (sparse(indptr=np.array([3, *range(4, 63), 120])), "a damaged sparse matrix"),
    (sparse(indptr=np.array(5)), "a damaged sparse matrix"),
    (sparse(indptr=np.array([0, 200, *range(2, 60), 120], np.uint32)), "a damaged sparse matrix"),
]


@pytest.mark.parametrize(("value", "message"), BAD_VALUES)
def test_pickles_with_something_else_than_numbers(tmp_path: Path, value: Any, message: str) -> None:
    content = smpl_pickle_content(random_arrays()) | {"J_regressor": value}
    (tmp_path / "model.pkl").write_bytes(dumps_python2(content))
    check_refused(tmp_path / "model.pkl", message)
