"""Every code block of README, CONTRIBUTING and docs runs, and so do the examples in docstrings.

Blocks of a page run in their order, in one namespace and one folder, on small files that are made
here (`helpers/reader_files.py`). bash says which commands a block of them starts. Those of
`dualhmr` run in this process; those that take minutes, listen or need a network are only parsed, by
the real parser, and other programs' names and targets are looked up.
"""

import argparse
import doctest
import functools
import importlib.util
import io
import json
import re
import runpy
import shlex
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from helpers.http_client import Client, served
from helpers.narrow_networks import narrow_networks
from helpers.page_blocks import (
    ROOT,
    SOURCES,
    Block,
    Command,
    blocks_of,
    commands_of,
    docstring_examples,
    pages,
)
from helpers.reader_files import FILES, variables

import dualhmr_export.export
from dualhmr import Recoverer, cli, outputs
from dualhmr.detection import movenet
from dualhmr.engines import onnxruntime_network
from dualhmr.jobs import job
from dualhmr.jobs.items import JobItem
from dualhmr.jobs.worker import JobWorker, Outcome
from dualhmr.person_fitting import adaptation_graph
from dualhmr.serving.app import Limits, make_app
from dualhmr.serving.service import BodyService
from dualhmr.video import frames
from dualhmr_export.bundle_folder import write_torch_bundle

LANGUAGES = ("python", "bash", "json", "text")
PAGES = {name: blocks for name, path in pages().items() if (blocks := blocks_of(path))}
EXAMPLES = docstring_examples()

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


class SameProcess:
    """A crew of jobs without processes, which take seconds to start."""

    def __init__(self, worker: JobWorker, size: int) -> None:
        self.size = size
        self._worker = replace(worker, renews=False)
        self._done: list[tuple[int, Outcome]] = []

    def give(self, number: int, item: JobItem) -> None:
        self._done.append((number, self._worker(item)))

    def finished(self) -> list[tuple[int, Outcome]]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        pass


def exported(imported: Any, manifest: Any, folder: Path, **_: object) -> str:
    """A bundle that PyTorch alone runs, as ONNX graphs take a minute: tests/export makes them."""
    write_torch_bundle(folder, imported.main, imported.auxiliary, manifest)
    return "not compared"


@pytest.fixture(scope="module")
def open_session() -> Callable[..., Any]:
    """Opens each file once: pages open the same networks again and again."""
    return functools.cache(onnxruntime_network.open_session)


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_session: Callable[..., Any]
) -> Path:
    """The current one, where hardware, browsers, processes and big networks have stand-ins."""
    for module in (adaptation_graph, movenet, onnxruntime_network):
        monkeypatch.setattr(module, "open_session", open_session)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)  # `python -m scripts...` is run there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda _: True)
    monkeypatch.setattr(job, "LocalCrew", SameProcess)
    monkeypatch.setattr(frames, "_open_webcam", lambda *_: frames._open("clip.mp4"))
    monkeypatch.setattr(dualhmr_export.export, "export", exported)
    monkeypatch.setattr(outputs, "_PANEL_HEIGHTS", (90, 90))  # small pictures are drawn sooner
    narrow_networks(monkeypatch)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = PAGES[page]
    make_files(folder, "".join(block.text for block in blocks))
    names = {"__name__": "__main__", **variables()}
    for block in blocks:
        if block.language == "python":
            run_python(block, names)
        elif block.language == "bash":
            for command in commands_of(block, folder):
                run_command(command, monkeypatch)
        elif block.language == "json":
            json.loads(block.text)
        else:
            assert block.language in LANGUAGES, f"{block.place}: begin it with one of {LANGUAGES}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_of_a_docstring_run(example: doctest.DocTest, folder: Path) -> None:
    make_files(folder, example.docstring or "")
    example.globs = variables()
    doctest.DebugRunner().run(example)


def test_no_exception_and_no_file_is_left_over() -> None:
    text = "".join(block.text for blocks in PAGES.values() for block in blocks)
    text += "".join(example.docstring or "" for example in EXAMPLES)
    assert [name for name in (*FILES, *variables()) if not mentions(text, name)] == []
    assert [name for name in OTHER_PROGRAMS if not mentions(text, name)] == []
    # The option may come anywhere in the line.
    patterns = {name: f"dualhmr {name.replace(' ', ' .*')}" for name in PARSED}
    assert [name for name, pattern in patterns.items() if not re.search(pattern, text)] == []


def mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text) is not None


def make_files(folder: Path, text: str) -> None:
    """Those that the text names and that none of its commands writes."""
    for name, write in FILES.items():
        if mentions(text, name) and f"--out {name}" not in text:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name)


def run_python(block: Block, names: dict[str, Any]) -> None:
    """With the page's own lines in a traceback."""
    padded = "\n" * (block.line - 1) + block.text
    with redirect_stdout(io.StringIO()):
        exec(compile(padded, block.page, "exec"), names)


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
}
