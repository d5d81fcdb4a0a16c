"""Attacks on the reader of SMPL pickles: each is refused, nothing runs, nothing stays changed."""

import builtins
import os
import pickle
import re
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_bodies import random_arrays, smpl_pickle_content
from helpers.python2_pickle import Built, Call, Global, dumps_python2

from dualhmr.body import smpl_pickle as pickled_arrays
from dualhmr.body import smpl_pickle as restricted_pickle
from dualhmr.body.model import load_body

SMPL_GLOBALS = [
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.multiarray", "scalar"),
    ("copy_reg", "_reconstructor"),
    ("_codecs", "encode"),
    ("__builtin__", "object"),
    ("__builtin__", "set"),
    ("chumpy.ch", "Ch"),
    ("scipy.sparse.csc", "csc_matrix"),
]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(module: str, attribute: str) -> bytes:
    """The opcode of protocol 4, whose names may have dots."""
    return text(module) + text(attribute) + b"\x93"


def stored(value: bytes) -> bytes:
    """A dict with the value as a body's template."""
    return b"\x80\x04}" + text("v_template") + value + b"s."


def check_refused(folder: Path, content: bytes, message: str) -> None:
    path = folder / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s){re.escape(str(path))}.*{message}"):
        load_body(path)


REFUSED = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("__builtin__", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("builtins", "bytearray"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("operator", "methodcaller"),
    ("types", "FunctionType"),
    ("types", "CodeType"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("copyreg", "add_extension"),
    ("copyreg", "__newobj__"),
    ("codecs", "encode"),
    ("_codecs", "decode"),
    ("_codecs", "register"),
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy", "memmap"),
    ("numpy", "core"),
    ("numpy", "frompyfunc"),
    ("numpy", "vectorize"),
    ("numpy", "ndarray.tofile"),
    ("numpy", "dtype.__class__"),
    ("numpy", "dtype.__init__.__globals__"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy.core.multiarray", "_reconstruct.__self__"),
    ("numpy._core.multiarray", "frombuffer"),
    ("numpy.core.numeric", "load"),
    ("numpy.f2py", "compile"),
    ("numpy.f2py.diagnose", "run_command"),
    ("numpy.testing", "runstring"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.distutils.exec_command", "exec_command"),
    ("numpy.lib.npyio", "load"),
    ("chumpyx", "Ch"),
    ("scipy.sparsefake", "csc_matrix"),
    ("scipy.io", "loadmat"),
    ("torch", "load"),
    ("dualhmr.body.smpl_pickle", "Record"),
    ("__main__", "anything"),
]


@pytest.mark.parametrize(("module", "attribute"), REFUSED)
def test_every_other_name_is_refused_by_name(tmp_path: Path, module: str, attribute: str) -> None:
    sentinel = tmp_path / "ran"
    arguments = text(f"touch {sentinel}") + b"\x85R"
    asked = re.escape(f"nothing in it was run: the file asks for {module}.{attribute}") + "$"
    check_refused(tmp_path, stored(name(module, attribute) + arguments), asked)
    # The opcodes of protocols 0 and 2 and of old instances.
    old = f"{module}\n{attribute}\n".encode()
    check_refused(tmp_path, b"\x80\x02c" + old + arguments + b".", asked)
    check_refused(tmp_path, b"(V" + f"touch {sentinel}\n".encode() + b"i" + old + b".", asked)
    assert not sentinel.exists()


def test_the_attacks_would_work_on_a_plain_load(tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    content = stored(name("os", "system") + text(f"touch {sentinel}") + b"\x85R")
    assert pickle.loads(content) == {"v_template": 0}
    assert sentinel.exists()


class _Gadget:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
def test_attack_hidden_among_arrays(tmp_path: Path, protocol: int) -> None:
    sentinel = tmp_path / "ran"
    hidden = np.array([[_Gadget(sentinel)], [1]], dtype=object)
    content = pickle.dumps(random_arrays() | {"notes": hidden}, protocol=protocol)
    check_refused(tmp_path, content, "the file asks for (posix|nt).system")
    assert not sentinel.exists()


def test_attack_by_old_objects_of_other_classes(tmp_path: Path) -> None:
    made = Call(Global("copy_reg", "_reconstructor"), (Global("__builtin__", "str"), None, "x"))
    check_refused(tmp_path, dumps_python2({"v_template": made}), r"asks for __builtin__\.str")
    for arguments in [("os.system", None, None), (None,), ()]:
        made = Call(Global("copy_reg", "_reconstructor"), arguments)
        check_refused(tmp_path, dumps_python2({"v_template": made}), "was run")


def module_state() -> dict[str, Any]:
    """All that an attack could change in the classes and functions that it can reach."""
    reached = [*vars(pickled_arrays).values(), *vars(restricted_pickle).values(), np.ndarray]
    state = {}
    for thing in reached:
        if isinstance(thing, type) or callable(thing):
            attributes = dict(getattr(thing, "__dict__", {}))
            defaults = getattr(thing, "__defaults__", None)
            state[f"{thing!r}"] = (attributes, defaults, getattr(thing, "__doc__", None))
    return state


@pytest.mark.parametrize("state", ["attributes", "slots"])
@pytest.mark.parametrize(("module", "attribute"), SMPL_GLOBALS)
def test_what_a_name_stands_for_cannot_be_changed(
    tmp_path: Path, module: str, attribute: str, state: str
) -> None:
    change = b"}" + text("__defaults__") + b"K\x01K\x02K\x03\x87s"
    change += text("__doc__") + text("hacked") + b"s" + text("to_array") + b"Ns"
    if state == "slots":
        change = b"N" + change + b"\x86"
    before = module_state()
    check_refused(tmp_path, stored(name(module, attribute) + change + b"b"), "was run")
    assert module_state() == before


@pytest.mark.parametrize("state", ["attributes", "slots"])
@pytest.mark.parametrize(("module", "attribute"), SMPL_GLOBALS)
def test_a_record_accepts_any_arguments_and_state(
    tmp_path: Path, module: str, attribute: str, state: str
) -> None:
    # Made without its constructor, then given methods by its state: these must not be called.
    told = b"}" + text("to_array") + name("numpy", "dtype") + b"s"
    told += text("__class__") + name("numpy", "ndarray") + b"s"
    if state == "slots":
        told = b"N" + told + b"\x86"
    check_refused(tmp_path, stored(name(module, attribute) + b")\x81" + told + b"b"), "")


@pytest.mark.parametrize(
    "opcodes",
    [
        b"Pos.system\n",
        text("os.system") + b"Q",
        b"\x82\x01",
        b"\x83\x01\x00",
        b"\x84\x01\x00\x00\x00",
        b"\x97",
    ],
)
def test_references_to_the_outside_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    check_refused(tmp_path, stored(opcodes), "refers to objects outside of itself")


# Arrays that lie about themselves.


def dtype(code: Any, *state: Any) -> Any:
    made = Call(Global("numpy", "dtype"), (code, 0, 1))
    return Built(made, state) if state else made


def array(shape: Any, number_format: Any, data: Any, *, state: Any = None) -> Any:
    empty = (Global("numpy", "ndarray"), (0,), "b")
    made = Call(Global("numpy.core.multiarray", "_reconstruct"), empty)
    return Built(made, (1, shape, number_format, False, data) if state is None else state)


LYING: list[tuple[Any, str]] = [
    (array((2, 3), dtype("O8"), [1, 2, 3, 4, 5, 6]), "dtype 'O8', expected real numbers"),
    (array((2, 3), dtype("O8"), "A" * 48), "dtype 'O8'"),
    # A structure of objects that claims to hold none: reading it would follow any address.
    (
        array(
            (2,),
            dtype("V8", 3, "|", None, ("f0",), {"f0": (dtype("O8"), 0)}, 8, 1, 0),
            "A" * 16,
        ),
        "dtype 'V8'",
    ),
    (array((2,), dtype(["O"]), "A" * 16), "dtype list"),
    (array((2,), dtype("f8,O"), "A" * 16), "dtype 'f8,O'"),
    (array((2,), dtype("datetime64"), "A" * 16), "dtype 'datetime64'"),
    (array((2,), None, "A" * 16), "an array without a dtype"),
    (array((2,), Global("numpy", "dtype"), "A" * 16), "an array without a dtype"),
    (array((2,), dtype("f8"), "A" * 15), r"shape \(2,\) with 15 bytes"),
    (array((2,), dtype("f8"), "A" * 17), r"shape \(2,\) with 17 bytes"),
    (array((2,), dtype("f8"), None), "an array of objects"),
    (array((2,), dtype("f8"), "\u20ac" * 2), "v_template is .*codec"),
    (array((2**31 - 1, 2**31 - 1, 2**31 - 1), dtype("f8"), "A" * 16), "with 16 bytes"),
    (array((-1,), dtype("f8"), "A" * 16), r"an array of shape \(-1,\)"),
    (array((2.0,), dtype("f8"), "A" * 16), r"an array of shape \(2.0,\)"),
    (array((1,) * 33, dtype("f8"), "A" * 8), r"an array of shape \(1, 1, "),
    (array(2, dtype("f8"), "A" * 16), "an array without a shape"),
    (array((), dtype("f8"), "", state=(1, 2)), "v_template is not enough values"),
    (array((), dtype("f8"), "", state={"shape": (1,)}), "v_template is not enough values"),
    (
        Call(Global("numpy.core.numeric", "_frombuffer"), ("A" * 16, dtype("f8"), (2,), "Z")),
        "v_template is order must be",
    ),
    (Call(Global("numpy.core.numeric", "_frombuffer"), ()), "v_template is not enough values"),
    (
        Call(
            Global("numpy.core.numeric", "_frombuffer"), ("A" * 16, dtype("f8"), (2,), "K", (1, 0))
        ),
        "v_template is axes don't match",
    ),
]


@pytest.mark.parametrize(("value", "message"), LYING)
def test_arrays_that_lie_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    content = smpl_pickle_content(random_arrays()) | {"v_template": value}
    check_refused(tmp_path, dumps_python2(content), message)


def test_the_state_of_a_dtype_cannot_change_what_its_bytes_are(tmp_path: Path) -> None:
    # Flags that say "holds references" on a plain number make NumPy release them as objects.
    flags = dtype("f8", 3, "<", None, None, None, -1, -1, 63)
    content = smpl_pickle_content(random_arrays())
    template = content["v_template"].state["x"]
    content["v_template"] = array(template.shape, flags, template.tobytes())
    (tmp_path / "model.pkl").write_bytes(dumps_python2(content))
    body = load_body(tmp_path / "model.pkl")
    np.testing.assert_array_equal(body.v_template.numpy(), template.astype(np.float32))


# Bombs.


@pytest.mark.parametrize(
    "opcodes",
    [b"r\xff\xff\xff\xff", b"r" + struct.pack("<I", 2_000_000), b"p4000000000\n"],
)
def test_memo_that_would_fill_the_memory(tmp_path: Path, opcodes: bytes) -> None:
    check_refused(tmp_path, b"\x80\x02}" + opcodes + b".", "asks for memory of .* objects")


@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x8e" + struct.pack("<Q", 2**62),
        b"\x8d" + struct.pack("<Q", 2**40),
        b"\x96" + struct.pack("<Q", 2**40),
        b"B" + struct.pack("<I", 2**32 - 1),
        b"T" + struct.pack("<i", 2**31 - 1),
        b"\x8b" + struct.pack("<i", 2**31 - 1),
        b"\x95" + struct.pack("<Q", 2**62),
    ],
)
def test_lengths_that_are_not_there(tmp_path: Path, opcodes: bytes) -> None:
    check_refused(tmp_path, stored(opcodes + b"abc"), "not a readable SMPL pickle")


def test_lists_that_hold_each_other_many_times_over(tmp_path: Path) -> None:
    # Sixty levels of two references each: 2^60 numbers for whoever makes an array of them.
    levels = b"]q\x00K\x01a0"
    for level in range(1, 60):
        below = b"h" + bytes([level - 1]) + b"a"
        levels += b"]q" + bytes([level]) + below + below + b"0"
    top = b"h" + bytes([59])
    start = time.monotonic()
    check_refused(tmp_path, b"\x80\x02" + levels + stored(top)[2:], "v_template is a list")
    matrix = name("scipy.sparse", "csc_matrix") + b")\x81}" + text("data") + top + b"s"
    matrix += text("_shape") + b"K\x02K\x02\x86sb"
    check_refused(tmp_path, b"\x80\x02" + levels + stored(matrix)[2:], "sparse matrix without data")
    assert time.monotonic() - start < 5


def test_deep_nesting(tmp_path: Path) -> None:
    check_refused(tmp_path, stored(b"]" * 100_000 + b"a" * 99_999), "v_template is a list")
    encoded = name("_codecs", "encode") * 3_000 + text("b") + b"\x85R" * 3_000
    number_format = name("numpy", "dtype") + text("f8") + b"\x85R"
    value = name("numpy._core.numeric", "_frombuffer") + b"(" + encoded + number_format
    check_refused(tmp_path, stored(value + b"K\x02\x85" + text("C") + b"tR"), "recursion")


@pytest.mark.parametrize("doublings", [26, 60])
@pytest.mark.parametrize("into", ["dtype", "key", "set", "state"])
def test_tuples_that_hold_each_other_many_times_over(
    tmp_path: Path, doublings: int, into: str
) -> None:
    # 140 bytes whose repr, or hash as a key, visits 2^doublings entries.
    nested = text("a") + b"2\x86" * doublings
    through_the_memo = text("a") + b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(doublings)
    )
    for value in (nested, through_the_memo):
        array = name("numpy.core.multiarray", "_reconstruct") + b")R(K\x01)"
        content = {
            "dtype": array + name("numpy", "dtype") + value + b"\x85R\x89U\0tb",
            "key": b"}" + value + b"K\x01s",
            "set": b"\x8f(" + value + b"\x90",
            "state": array
            + name("numpy", "dtype")
            + text("f8")
            + b"\x85R(K\x03"
            + value
            + b"tb\x89U\0tb",
        }[into]
        check_refused(tmp_path, stored(content), "hold each other too many times over")


def test_lists_in_place_of_a_format_are_not_shown(tmp_path: Path) -> None:
    levels = b"]q\x00K\x01a0"
    for level in range(1, 60):
        below = b"h" + bytes([level - 1]) + b"a"
        levels += b"]q" + bytes([level]) + below + below + b"0"
    array = name("numpy.core.multiarray", "_reconstruct") + b")R(K\x01)"
    lying = array + name("numpy", "dtype") + b"h\x3b\x85R\x89U\0tb"
    check_refused(tmp_path, b"\x80\x02" + levels + stored(lying)[2:], "dtype list, expected")


def test_shapes_of_huge_integers(tmp_path: Path) -> None:
    # Their product would take minutes.
    huge = b"\x8b" + struct.pack("<i", 10_000) + b"\x7f" * 10_000
    shape = b"(" + huge * 30 + b"t"
    number_format = name("numpy", "dtype") + text("f8") + b"\x85R"
    array = name("numpy.core.multiarray", "_reconstruct") + b")R(K\x01" + shape + number_format
    check_refused(tmp_path, stored(array + b"\x89U\0tb"), "an array of shape tuple with a huge")


def test_one_string_as_the_content_of_all_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dualhmr.body.files._LARGEST_BYTES", 3000)
    shared = np.zeros(125)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(dict.fromkeys(random_arrays(), shared)))
    with pytest.raises(ValueError, match=r"model\.pkl: its arrays have more than 3000 bytes"):
        load_body(tmp_path / "model.pkl")


def test_names_that_are_long(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(stored(name("x" * 10**6, "y" * 10**6)))
    with pytest.raises(ValueError, match="asks for xxx") as caught:
        load_body(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("seed", range(3))
def test_random_opcodes_are_refused_or_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Shuffled pieces of real files and of attacks.
    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("an attack ran")

    pieces = [name(*pair) for pair in [*SMPL_GLOBALS, ("builtins", "eval")]]
    pieces += [b")", b"}", b"]", b"(", b"R", b"b", b"\x81", b"\x92", b"s", b"a", b"u", b"e", b"0"]
    pieces += [b"N", b"\x88", b"K\x02", b"\x85", b"\x86", b"\x87", b"t", b"2", b"\x94", b"h\x00"]
    pieces += [text("v_template"), text("f8"), text("latin1"), b"o", b"l", b"d", b"1", b"\x90"]
    rng = np.random.default_rng(seed)
    path = tmp_path / "model.pkl"
    monkeypatch.setattr(builtins, "eval", never)
    before = module_state()
    for _ in range(300):
        body = b"".join(pieces[i] for i in rng.integers(0, len(pieces), rng.integers(2, 25)))
        path.write_bytes(b"\x80\x04}" + body + b".")
        with pytest.raises(ValueError, match=r"model\.pkl"):
            load_body(path)
    assert module_state() == before
