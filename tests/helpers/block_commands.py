"""Commands of code blocks: run in this process, or their arguments checked.

Those of `dualhmr` run; those that take minutes, listen or need a network are only parsed, by the
real parser, as scripts of this project are. Targets, extras and files of other programs are looked
up. A failure names the page and the line.
"""

import argparse
import importlib.util
import io
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from dualhmr import Recoverer, cli
from dualhmr.serving.app import Limits, make_app
from dualhmr.serving.service import BodyService
from helpers.http_client import Client, served
from helpers.page_blocks import ROOT, SOURCES, Command

PARSED = {
    "bench": "measures for minutes",
    "demo": "listens",
    "evaluate": "recovers thousands of people",
    "job --ray": "needs Ray",
    "reproduce": "trains for hours",
    "serve": "listens",
    "verify": "compares graphs, which `exported` does not make",
}
"""Commands of `dualhmr`, each perhaps with an option, that do not run here, and why."""
OTHER_PROGRAMS = {
    "blender": "is not installed",
    "npm": "downloads",
}
"""What is not looked at, and why."""
NOT_INSTALLED = ("anny", "anny.shape_distribution", "fast_simplification")
"""Which scripts import before they parse their arguments."""


def run_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs it or checks its arguments; a failure names the page and the line."""
    program, *arguments = command.words
    if Path(program).parent.name == "bin":
        program = Path(program).name
    if "/" in program:
        assert (ROOT / program).is_file(), command
    elif program not in OTHER_PROGRAMS:
        assert program in PROGRAMS, f"{command}: say in OTHER_PROGRAMS why this is not checked"
        said = io.StringIO()
        try:
            with redirect_stdout(said), redirect_stderr(said), monkeypatch.context() as patch:
                PROGRAMS[program](arguments, patch)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and not error.code:
                return  # of --help
            pytest.fail(f"{command}\n{said.getvalue()}{type(error).__name__}: {error}")


def run_dualhmr(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if arguments[0] == "train":
        arguments = [*arguments, "--show"]  # checks every field of the configuration
    line = shlex.join(arguments)
    if any(re.match(f"{name.replace(' ', ' .*')}\\b", line) for name in PARSED):
        (module,) = [each for each in cli._commands() if arguments[0] == each.NAME]
        monkeypatch.setattr(module, "run", lambda _: 0)
    assert cli.main(arguments) == 0


class ParsedError(Exception):
    """Ends a script after its arguments were parsed."""


def run_python_program(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to where its arguments are parsed, if it is one of this project."""
    if arguments[0] == "-m":
        found = importlib.util.find_spec(arguments[1])
        assert found is not None, f"there is no module {arguments[1]}"
        path = Path(found.origin or "")
        arguments = arguments[1:]
    else:
        path = ROOT / arguments[0]
    if not any(path.is_relative_to(ROOT / root) for root in (*SOURCES, "scripts", "examples")):
        return
    parse = argparse.ArgumentParser.parse_known_args

    def parse_and_stop(self: Any, *given: Any, **options: Any) -> None:
        _, unknown = parse(self, *given, **options)
        raise ParsedError(unknown)

    for name in NOT_INSTALLED:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(ParsedError, match=r"^\[\]$"):
        runpy.run_path(str(path), run_name="__main__")


def run_make(arguments: list[str], _: pytest.MonkeyPatch) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {*arguments} <= {*re.findall(r"^([\w-]+):", makefile, re.MULTILINE)}


def run_pip(arguments: list[str], _: pytest.MonkeyPatch) -> None:
    """Extras exist."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = {*re.findall(r"^([\w-]+) = \[", section, re.MULTILINE)}
    for argument in arguments:
        if found := re.match(r"(?:dualhmr|\.)\[([\w,-]+)\]", argument):
            assert {*found[1].split(",")} <= extras


def run_curl(arguments: list[str], _: pytest.MonkeyPatch) -> None:
    """Asks a server in this process whatever the page asks."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("url")
    parser.add_argument("--data-binary", type=file_content)
    parser.add_argument("-F", action="append", default=[])
    parser.add_argument("-o")
    options = parser.parse_args(arguments)
    found = re.fullmatch(r"http://127\.0\.0\.1:8765(/.*)", options.url)
    assert found, "expected the address of `dualhmr serve`"
    with served(make_app(BodyService(Recoverer()), Limits())) as client:
        reply = ask(client, found[1], options)
    assert reply.status == 200, reply.body
    if options.o:
        Path(options.o).write_bytes(reply.body)


def ask(client: Client, path: str, options: argparse.Namespace) -> Any:
    if options.F:
        parts = dict(part.split("=", 1) for part in options.F)
        return client.form(path, **{name: file_content(at) for name, at in parts.items()})
    body: bytes | None = options.data_binary
    return client("GET" if body is None else "POST", path, body)


def file_content(at: str) -> bytes:
    """Of `@name`."""
    return Path(at.removeprefix("@")).read_bytes()


PROGRAMS: dict[str, Callable[[list[str], pytest.MonkeyPatch], None]] = {
    "dualhmr": run_dualhmr,
    "python": run_python_program,
    "make": run_make,
    "pip": run_pip,
    "curl": run_curl,
    "cd": lambda *_: None,
    "source": lambda *_: None,
}
