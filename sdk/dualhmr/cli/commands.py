"""The `dualhmr` command's subcommands: what one is, and how other packages add theirs."""

import argparse
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from dualhmr.arrays import INSTALL_TORCH, torch_installed

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


class CommandWithoutTorch:
    """Stands in for a subcommand whose module cannot be imported without PyTorch."""

    TAKES_FIELDS = True

    def __init__(self, name: str) -> None:
        self.NAME = name
        self.__doc__ = f"Not to be had without PyTorch ({INSTALL_TORCH})."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """None: whatever is given is let through."""

    def run(self, options: argparse.Namespace) -> int:  # noqa: ARG002
        """Raises ImportError."""
        raise ImportError(f"dualhmr {self.NAME} needs PyTorch: {INSTALL_TORCH}")


def commands() -> Iterator[Command]:
    """Every installed subcommand, by name.

    They are found through entry points, so that the SDK need not know the packages above it.
    """
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda each: each.name):
        yield _loaded(entry_point)


def _loaded(entry_point: EntryPoint) -> Command:
    try:
        command: Command = entry_point.load()
    except ModuleNotFoundError:
        if torch_installed():
            raise
        return CommandWithoutTorch(entry_point.name)
    return command
