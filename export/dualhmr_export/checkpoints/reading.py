"""PyTorch checkpoint files to plain dicts, without running what is in them."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch

_FORBIDDEN = re.compile(r"GLOBAL ([\w.]{1,100})")
"""Where torch's refusal names what the file asks for."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """What `torch.save` wrote, on the CPU: a dict of tensors, numbers, strings and containers.

    Such a file is a program. Only the part of the language that makes these is followed; a file
    that asks for anything else is refused, as is a damaged one, with ValueError. Raises
    FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    # Opened here: given a path, torch goes by its ending and may read another format.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on old or odd files; they load or fail
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a hostile or damaged file can raise anything
            forbidden = _FORBIDDEN.search(str(error))
            if forbidden:
                # Not chained: torch's own text advises to switch the protection off.
                raise ValueError(_refusal(path, forbidden[1])) from None
            raise ValueError(
                f"{path}: damaged, truncated, or no checkpoint of PyTorch; nothing in it was run; "
                "get it again"
            ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: holds one {type(content).__name__}, expected a dict of state dicts"
        )
    return content


def _refusal(path: Path, name: str) -> str:
    return (
        f"{path}: more than tensors and containers: reading it would run {name}, so it was "
        "refused, and nothing in it was run. If you trust it, load it where it comes from, and "
        'save the state dicts alone: torch.save({"model": model.state_dict(), ...}, path)'
    )
