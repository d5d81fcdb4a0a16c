"""Reading files that anybody may have made: JSON and NumPy arrays, as data and of bounded size.

What a file claims is checked against the bytes that are there before memory is allocated, and
whatever NumPy, zipfile, zlib, tokenize or json raise about a file becomes one ValueError that
names the file, of bounded length.
"""

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from reprlib import Repr
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_MOST_AXES = 32  # as NumPy 1.26
_LONGEST_AXIS = 1 << 40
_LONGEST_INTEGER = 300
"""Digits: as many as a double has, so that an integer in JSON becomes a float without an error."""
_LONGEST_MESSAGE = 400
_BLOCK = 1 << 20
_ADVICE = "get it again, or save its arrays again as numbers and text"

_repr = Repr()
_repr.maxstring = _repr.maxother = 80


def brief(value: object) -> str:
    """An error's message, or another value's `repr`, in at most a few hundred characters."""
    try:
        is_error = isinstance(value, Exception)
        text = str(value) or type(value).__name__ if is_error else _repr.repr(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        text = f"{type(value).__name__} with a huge integer"
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


@contextlib.contextmanager
def one_value_error(
    where: str | os.PathLike[str], problem: str, *, advice: str = ""
) -> Iterator[None]:
    """Turns any error of the block into a ValueError `where: problem: error; advice`.

    A damaged or hostile file makes libraries raise anything, RecursionError and MemoryError too.
    """
    try:
        yield
    except Exception as error:
        advice = f"; {advice}" if advice else ""
        raise ValueError(f"{where}: {problem}: {brief(error)}{advice}") from error


def read_json(path: str | os.PathLike[str], *, limit_bytes: int = 1 << 26) -> Any:
    """The value in a file of JSON, in UTF-8, -16 or -32, with a byte order mark or without.

    Raises OSError if the file cannot be opened, or ValueError if it is damaged, nested too deeply
    or larger than `limit_bytes`.
    """
    with Path(path).open("rb") as file, one_value_error(path, "not JSON, damaged or cut short"):
        check_size(os.fstat(file.fileno()).st_size, limit_bytes)
        return parse_json(file.read(limit_bytes))


def parse_json(text: str | bytes) -> Any:
    """`json.loads`, with a ValueError for whatever is wrong.

    Integers of more than 300 digits are refused: they take quadratic time and fit no float.
    """
    try:
        text = text if isinstance(text, str) else text.decode(json.detect_encoding(text))
        return json.loads(text, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def read_npy(path: str | os.PathLike[str], *, limit_bytes: int) -> npt.NDArray[Any]:
    """The array in a `.npy` file: real or complex numbers, booleans or text.

    Raises OSError if the file cannot be opened, or ValueError if it is damaged, holds anything
    else, or an array larger than `limit_bytes`.
    """
    problem = "damaged, cut short or not a plain array"
    with Path(path).open("rb") as file, one_value_error(path, problem, advice=_ADVICE):
        return _read_array(file, os.fstat(file.fileno()).st_size, limit_bytes)


def read_npz(
    path: str | os.PathLike[str], names: Iterable[str], *, limit_bytes: int
) -> dict[str, npt.NDArray[Any]]:
    """Those of the arrays `names` that an `.npz` file has; the others are not read.

    Raises as `read_npy`; `limit_bytes` bounds the decompressed size of all arrays together.
    """
    problem = "damaged, cut short or not an .npz of plain arrays"
    with (
        Path(path).open("rb") as file,
        one_value_error(path, problem, advice=_ADVICE),
        zipfile.ZipFile(file) as archive,
    ):
        there = set(archive.namelist())
        members = {name: archive.getinfo(f"{name}.npy") for name in names if f"{name}.npy" in there}
        # A small archive can hold gigabytes of zeros.
        check_size(sum(member.file_size for member in members.values()), limit_bytes)
        arrays = {}
        for name, member in members.items():
            # Those that NumPy writes. LZMA would allocate what its header asks for.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that NumPy does not use")
            with archive.open(member) as content, _naming(name):
                arrays[name] = _read_array(content, member.file_size, limit_bytes)
        return arrays


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_size(size: int, limit_bytes: int) -> None:
    """ValueError for more bytes than the limit."""
    if size > limit_bytes:
        raise ValueError(f"{size} bytes, too many: at most {limit_bytes} are read")


def _read_array(file: IO[bytes], size: int, limit_bytes: int) -> npt.NDArray[Any]:
    """The array in `file` of `size` bytes. Reads to the end, where zipfile checks the hash."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array in format {version}, expected (1, 0) or (2, 0)")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read_header(file)
    if dtype.kind not in "biufcSU":
        raise ValueError(f"an array of {brief(str(dtype))}, expected plain numbers or text")
    check_shape(shape)
    # Texts of no characters would let a shape of any size pass.
    count, there = math.prod(n for n in shape), size - file.tell()
    expected = count * dtype.itemsize
    if expected != there or (count and not expected):
        raise ValueError(f"an array of {dtype} {shape}, but {there} bytes of content")
    check_size(expected, limit_bytes)
    array = np.frombuffer(_read_all(file, expected), dtype)
    array = array.reshape(shape, order="F" if is_fortran else "C")
    array = array.astype(dtype.newbyteorder("="), copy=False)
    if dtype.kind == "U" and array.size:
        _check_characters(array)
    return array


def check_shape(shape: tuple[Any, ...]) -> None:
    """ValueError unless `shape` can be that of an array: math.prod of huge integers never ends."""
    if len(shape) > _MOST_AXES or not all(
        type(length) is int and 0 <= length <= _LONGEST_AXIS for length in shape
    ):
        raise ValueError(f"an array of shape {brief(shape)}")


def _read_all(file: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    done = 0
    while done < size:
        block = file.read(min(_BLOCK, size - done))
        if not block:
            raise ValueError(f"cut short, {size - done} bytes are missing")
        content[done : done + len(block)] = block
        done += len(block)
    return content


def _check_characters(array: npt.NDArray[np.str_]) -> None:
    """NumPy takes any 32 bits for a character; Python raises when such a text is used."""
    codes = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
    if codes.max() > 0x10FFFF or ((codes >= 0xD800) & (codes < 0xE000)).any():
        raise ValueError("text with characters that do not exist")


def as_float32(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """A copy in single precision. ValueError unless all are real numbers and finite in it."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # too large becomes infinite
        numbers = np.array(array, dtype=np.float32, order="C")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} has numbers that are not finite in single precision")
    return numbers
