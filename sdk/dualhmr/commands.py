"""The `dualhmr` command's subcommands: what one is, and how other packages add theirs."""

import argparse
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Protocol

ENTRY_POINT_GROUP = "dualhmr.commands"


class Command(Protocol):
    """A module with a subcommand. Its docstring's first line is the help text.

    With `TAKES_FIELDS = True` arguments that it did not declare are not an error, but handed to it
    as `options.fields`.
    """

    NAME: str
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command line."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Does it, and returns the exit status. Users' errors are raised."""
        ...


def commands() -> Iterator[Command]:
    """Every installed subcommand, by name.

    They are found through entry points, so that the SDK need not know the packages above it.
    """
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda each: each.name):
        yield entry_point.load()
