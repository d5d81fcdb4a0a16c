"""The command `dualhmr`."""

import argparse
import sys
from collections.abc import Sequence

from dualhmr.arrays import INSTALL_TORCH
from dualhmr.cli.commands import commands

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status. A user's error is one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="dualhmr", description="Bodies from photographs and 2D keypoints."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands():
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(
            command.NAME,
            help=summary,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # A field must not pass for an option that begins like it.
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        takes_fields = getattr(command, "TAKES_FIELDS", False)
        subparser.set_defaults(run=command.run, takes_fields=takes_fields)
    options, fields = parser.parse_known_args(arguments)
    if fields and not options.takes_fields:
        parser.error(f"unrecognized arguments: {' '.join(fields)}")
    options.fields = fields
    try:
        return int(options.run(options))
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError) as error:
        print(f"dualhmr: {_explained(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("dualhmr: interrupted", file=sys.stderr)
        return 130


def _explained(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return f"this needs PyTorch: {INSTALL_TORCH}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
