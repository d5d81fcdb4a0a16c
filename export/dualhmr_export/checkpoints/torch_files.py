"""Checkpoint files of PyTorch as data: nothing in them is run."""

import io
import os
import re
import warnings
import zipfile
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import torch

from dualhmr.body.smpl_pickle import NUMPY_RECORDS, Record, check_opcodes
from dualhmr.untrusted import check_size

AnyPath = str | os.PathLike[str]

_FORBIDDEN = re.compile(r"GLOBAL ([\w.]{1,100})")
"""In torch's error for a file that is more than data: the function that it would call."""


def read_checkpoint(path: AnyPath) -> dict[Any, Any]:
    """Reads what `torch.save` wrote, on the CPU: a dict of tensors, numbers, strings, containers.

    Such a file is a pickle, that is, a program. Only the instructions that make these values are
    executed; NumPy's numbers and arrays of numbers are read as data too, without NumPy's own
    constructors. Raises ValueError for a file that asks for anything else or is damaged, and
    FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    # An open file, not a path: torch.load chooses other formats by the ending of a path.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on old or odd files; they load or fail
        try:
            _check_sizes(file)
            with _numpy_as_records():
                content = torch.load(file, map_location="cpu", weights_only=True)
            content = _with_arrays(content, {})
        except Exception as error:  # a hostile or damaged file can raise anything
            forbidden = _FORBIDDEN.search(str(error))
            if forbidden:
                # Not chained: torch's own text recommends to switch the protection off.
                raise ValueError(_refusal(path, forbidden[1])) from None
            raise ValueError(
                f"{path}: damaged, truncated, or not a checkpoint of PyTorch; nothing in it was "
                "run; download or copy it again"
            ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: holds one {type(content).__name__}, expected a dict of state dicts"
        )
    return content


def _check_sizes(file: IO[bytes]) -> None:
    """Raises for an archive larger than its file, and for a pickle that would not end.

    `torch.save` compresses nothing. Old files are several pickles, the weights after the fourth.
    """
    if file.read(4) == b"PK\3\4":
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            check_size(sum(each.file_size for each in members), os.fstat(file.fileno()).st_size)
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{member.filename[:80]} is compressed")
                if member.filename.endswith(".pkl"):
                    check_opcodes(io.BytesIO(archive.read(member)), refused=())
    else:
        file.seek(0)
        for _ in range(4):
            check_opcodes(file, refused=())
    file.seek(0)


def _numpy_as_records() -> AbstractContextManager[None]:
    """While it lasts, `torch.load` makes inert records of NumPy's objects."""
    if not hasattr(torch.serialization, "safe_globals"):
        return nullcontext()  # PyTorch 2.4 refuses them
    # torch finds a class by its module and name.
    records: list[Any] = [
        type(name, (record,), {"__module__": module})
        for (module, name), record in NUMPY_RECORDS.items()
    ]
    return torch.serialization.safe_globals(records)


def _with_arrays(value: Any, done: dict[int, Any]) -> Any:
    """`value` with arrays and numbers for the records in it that are such."""
    if isinstance(value, Record):
        # What is no array of numbers stays a record: no network needs it.
        with suppress(ValueError, TypeError, IndexError):
            return value.to_array()[()]
        return value
    if id(value) not in done:
        done[id(value)] = value
        if isinstance(value, dict):
            value.update({name: _with_arrays(each, done) for name, each in value.items()})
        elif isinstance(value, list):
            value[:] = [_with_arrays(each, done) for each in value]
        elif type(value) is tuple:
            done[id(value)] = tuple(_with_arrays(each, done) for each in value)
    return done[id(value)]


def _refusal(path: Path, name: str) -> str:
    return (
        f"{path}: holds more than tensors and containers: reading it would run {name}, so it was "
        "refused, and nothing in it was run. If you trust the file, load it with the code that "
        'wrote it and save only the state dicts: torch.save({"model": model.state_dict(), ...}, '
        "path)"
    )
