"""Files that lie about their size, damage of every kind, and errors of bounded length."""

import io
import json
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualhmr.untrusted import brief, parse_json, read_json, read_npy, read_npz

MEGABYTE = 1 << 20


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text: str, *, version: int = 1) -> bytes:
    """The beginning of a `.npy` file with any text for a header."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


def lying(shape: str, dtype: str = "<f8", order: str = "False") -> bytes:
    return header(f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n")


def npz(path: Path, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(4, dtype=">i2"),
        np.array(["a", "b\U0001f600", ""]),
        np.array([b"x", b""]),
        np.array([True, False]),
        np.array(3.5),
        np.zeros((0, 3)),
        np.zeros((2, 0), "U5"),
    ],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "stored.npz", a=array, other=np.zeros(3))
    np.savez_compressed(tmp_path / "compressed.npz", a=array)
    for found in (
        read_npy(tmp_path / "a.npy", limit_bytes=MEGABYTE),
        read_npz(tmp_path / "stored.npz", ["a", "b"], limit_bytes=MEGABYTE)["a"],
        read_npz(tmp_path / "compressed.npz", ["a"], limit_bytes=MEGABYTE)["a"],
    ):
        np.testing.assert_array_equal(found, array)
        assert found.shape == array.shape
        assert found.dtype == array.dtype.newbyteorder("=")
        assert found.flags.writeable


LYING = {
    "terabytes": lying("(1000000000000,)"),
    "terabytes in two axes": lying("(1000000, 1000000)"),
    "the product of huge integers": lying("(" + ("9" * 200 + ",") * 40 + ")"),
    "an integer of 5,000 digits": lying("(" + "9" * 5000 + ",)"),
    "a negative length": lying("(-1,)"),
    "a boolean for a length": lying("(True,)") + bytes(8),
    "texts of no characters": lying("(1000000000000,)", "<U0"),
    "many axes": lying("(" + "1," * 40 + ")") + bytes(8),
    "too few numbers": lying("(3,)") + bytes(16),
    "too many numbers": lying("(3,)") + bytes(32),
    "objects": lying("(1,)", "|O") + bytes(8),
    "a structure": header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n")
    + bytes(8),
    "dates": lying("(1,)", "<M8[s]") + bytes(8),
    "a character that does not exist": lying("(1,)", "<U1") + b"\xff\xff\xff\x7f",
    "half a character": lying("(1,)", "<U1") + struct.pack("<I", 0xD800),
    "an open parenthesis": lying("(3,(").replace(b")", b"("),
    "nesting": header("(" * 9000),
    "minus signs": header("-" * 9000 + "1"),
    "a string without an end": header("{'descr"),
    "no dict": header("[]\n"),
    "an unknown format": b"\x93NUMPY\x09\x00",
    "nothing": b"",
    "junk": b"junk",
    "a pickle": b"\x80\x04cos\nsystem\n",
    "a header of gigabytes": b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
}


@pytest.mark.parametrize("content", LYING.values(), ids=LYING.keys())
def test_arrays_that_lie_are_one_short_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_refused(path, lambda: read_npy(path, limit_bytes=1 << 62))
    archive = npz(tmp_path / "a.npz", a=content)
    check_refused(archive, lambda: read_npz(archive, ["a"], limit_bytes=1 << 62))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # kilobytes


def check_refused(path: Path, read: Callable[[], object], message: str | None = None) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read()
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 700


def test_the_size_of_all_arrays_together_is_bounded(tmp_path: Path) -> None:
    zeros = npy(np.zeros(100_000))
    path = npz(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, a=zeros, b=zeros, c=zeros)
    assert path.stat().st_size < 10_000
    assert len(read_npz(path, ["a", "b"], limit_bytes=1_700_000)) == 2
    check_refused(path, lambda: read_npz(path, "abc", limit_bytes=1_700_000), "too many")
    check_refused(path, lambda: read_npz(path, "a", limit_bytes=700_000), "too many")
    (tmp_path / "a.npy").write_bytes(zeros)
    check_refused(tmp_path / "a.npy", lambda: read_npy(tmp_path / "a.npy", limit_bytes=700_000))


def test_compressions_that_numpy_does_not_write_are_refused(tmp_path: Path) -> None:
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        path = npz(tmp_path / "a.npz", compression, a=npy(np.zeros(3)))
        check_refused(path, lambda path=path: read_npz(path, "a", limit_bytes=MEGABYTE), "compress")  # type: ignore[misc]


def test_flipped_bits_never_change_an_array_unnoticed(tmp_path: Path) -> None:
    array = np.arange(50)
    content = npz(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, a=npy(array)).read_bytes()
    path = tmp_path / "flipped.npz"
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        try:
            found = read_npz(path, "a", limit_bytes=MEGABYTE)
        except ValueError:
            continue
        assert not found or (found["a"] == array).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * 5000, "an integer of 5000 digits"),
        (b"[1, " + b"-9" + b"9" * 400 + b"]", "an integer of 402 digits"),
        (b'{"a": ', "Expecting value"),
        (b'"\xff"', "utf-8"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    check_refused(path, lambda: read_json(path), message)


def test_json_as_it_should_be(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "\u00e9", 10**250]}
    (tmp_path / "a.json").write_text(json.dumps(value), encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == value
    assert parse_json("[1]") == parse_json(b"[1]") == [1]
    check_refused(
        tmp_path / "a.json", lambda: read_json(tmp_path / "a.json", limit_bytes=9), "many"
    )


def test_a_missing_file_is_no_damage(tmp_path: Path) -> None:
    for read in (
        read_json,
        lambda p: read_npy(p, limit_bytes=9),
        lambda p: read_npz(p, [], limit_bytes=9),
    ):
        with pytest.raises(FileNotFoundError, match="absent"):
            read(tmp_path / "absent")


def test_what_is_shown_of_a_value_is_short() -> None:
    nested: list[Any] = [1]
    for _ in range(60):
        nested = [nested, nested]
    for value in (nested, "x" * 10**6, 10**250, ValueError("y" * 10**6), {"a": "b" * 10**6}):
        assert len(brief(value)) < 500
    assert brief(MemoryError()) == "MemoryError"
    assert brief({"a": [1]}) == "{'a': [1]}"
