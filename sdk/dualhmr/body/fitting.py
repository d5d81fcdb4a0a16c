"""The body that networks need: betas mean something on one body alone."""

import os
from pathlib import Path

from dualhmr.body.files import FREE_BODY, load_body
from dualhmr.body.model import Body


def fitting_body(body: str | os.PathLike[str] | Body | None, *, needed: str, networks: str) -> Body:
    """`body`, read if it is a file, or the free body for None; for networks trained on `needed`.

    `networks` names them in errors. Raises ValueError for a body that is not of their kind, free or
    licensed, or for a licensed one that is not given; and what `load_body` does.
    """
    if body is None:
        if needed != FREE_BODY:
            raise ValueError(
                f"{networks} was trained on body {needed!r}, which does not come with dualhmr; "
                "pass the file you downloaded as body=... (--body)"
            )
        return load_body()
    loaded = body if isinstance(body, Body) else load_body(Path(body))
    if (needed == FREE_BODY) != (loaded.name == FREE_BODY):
        raise ValueError(
            f"{networks} was trained on body {needed!r}; its betas mean nothing on body "
            f"{loaded.name!r}"
        )
    return loaded
