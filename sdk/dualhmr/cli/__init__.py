"""The command `dualhmr`, and how packages add subcommands to it.

A subcommand is a module that an entry point of the group `dualhmr.commands` names, so the SDK does
not import the packages that build on it. See `Command` for what the module defines.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from dualhmr import __version__
from dualhmr.arguments import EXPECTED_ERRORS, message_of
from dualhmr.arrays import INSTALL_TORCH, torch_installed

ENTRY_POINT_GROUP = "dualhmr.commands"
FAILED = 1
INTERRUPTED = 130
"""128 + SIGINT, the shell's convention."""


class Command(Protocol):
    """A module with a subcommand. The first line of its docstring is the help text.

    With `TAKES_FIELDS = True`, arguments that the module does not declare are not an error; they
    are passed to it as `options.fields`.
    """

    NAME: str
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command line."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Runs the subcommand and returns the exit status. Raises users' errors."""
        ...


class CommandWithoutTorch:
    """Takes the place of a subcommand whose module cannot be imported without PyTorch."""

    TAKES_FIELDS = True

    def __init__(self, name: str) -> None:
        self.NAME = name
        self.__doc__ = f"Not available without PyTorch ({INSTALL_TORCH})."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares nothing: `TAKES_FIELDS` accepts every argument."""

    def run(self, options: argparse.Namespace) -> int:  # noqa: ARG002
        """Raises ImportError."""
        raise ImportError(f"dualhmr {self.NAME} needs PyTorch: {INSTALL_TORCH}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit status. A user's error is one line on stderr."""
    parser, _ = parsers()
    options, fields = parser.parse_known_args(arguments)
    if fields and not options.takes_fields:
        parser.error(f"unrecognized arguments: {' '.join(fields)}")
    options.fields = fields
    try:
        return int(options.run(options))
    except EXPECTED_ERRORS as error:
        without_torch = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        message = f"this needs PyTorch: {INSTALL_TORCH}" if without_torch else message_of(error)
        print(f"dualhmr: {message}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("dualhmr: interrupted", file=sys.stderr)
        return INTERRUPTED


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of `dualhmr`, and those of its subcommands by name."""
    parser = argparse.ArgumentParser(
        prog="dualhmr", description="Bodies from photographs and 2D keypoints."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _commands():
        _add(command, subparsers)
    return parser, subparsers.choices


def _commands() -> Iterator[Command]:
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda each: each.name):
        yield _load(entry_point)


def _load(entry_point: EntryPoint) -> Command:
    try:
        command: Command = entry_point.load()
    except ModuleNotFoundError:
        if torch_installed():
            raise
        return CommandWithoutTorch(entry_point.name)
    return command


def _add(
    command: Command, subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]"
) -> None:
    subparser = subparsers.add_parser(
        command.NAME,
        help=(command.__doc__ or "").splitlines()[0],
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation could take a field for the option that begins with the same letters.
        allow_abbrev=False,
    )
    command.add_arguments(subparser)
    subparser.set_defaults(run=command.run, takes_fields=getattr(command, "TAKES_FIELDS", False))
