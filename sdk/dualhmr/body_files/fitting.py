"""The body that networks need: betas mean something on one body alone."""

import os
from pathlib import Path
from typing import Any

from dualhmr.body_files.arrays import BodyArrays, BodyParts
from dualhmr.body_files.files import FREE_BODY, read_body


def fitting_arrays(
    body: str | os.PathLike[str] | BodyArrays | None, *, needed: str, networks: str
) -> BodyArrays:
    """`body`, read if it is a file, or the free body for None; for networks trained on `needed`.

    `networks` names them in errors. Raises ValueError for a body that is not of their kind, free or
    licensed, or for a licensed one that is not given; and what `read_body` does.
    """
    if body is None:
        if needed != FREE_BODY:
            raise ValueError(
                f"{networks} was trained on body {needed!r}, which does not come with dualhmr; "
                "pass the file you downloaded as body=... (--body)"
            )
        return read_body()
    arrays = body if isinstance(body, BodyArrays) else read_body(Path(body))
    check_fits(arrays, needed=needed, networks=networks)
    return arrays


def check_fits(body: BodyParts[Any], *, needed: str, networks: str) -> None:
    """Raises ValueError unless `body` is of the kind that `networks` were trained on."""
    if (needed == FREE_BODY) != (body.name == FREE_BODY):
        raise ValueError(
            f"{networks} was trained on body {needed!r}; its betas mean nothing on body "
            f"{body.name!r}"
        )
