"""Code blocks of Markdown pages, the commands in them, and the examples in docstrings."""

import ast
import doctest
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCES = ("sdk", "training", "export", "benchmarks")

_FENCE = re.compile(r"(?P<indent> *)(?P<marks>`{3,}|~{3,}) *\{?\.?(?P<language>[\w+-]*)")
_BASH = shutil.which("bash") or "bash"
# No program is found, so bash gives all of them to this function, with their arguments as it
# understands them: quotes, comments, variables and loops are those of a real shell.
_RECORDER = r"""
set -eu
record() { printf '%s\0' "$1" "$(($# - 1))" "${@:2}" >> "$RECORDED"; }
command_not_found_handle() { record "${BASH_LINENO[0]}" "$@"; }
cd() { record "${BASH_LINENO[0]}" cd "$@"; }
source() { record "${BASH_LINENO[0]}" source "$@"; }
"""
_SLASH = "\N{FRACTION SLASH}"
# bash does not ask for programs that are named by their path: here in the place of a command.
_PROGRAM_BY_PATH = re.compile(r"((?:^|[;&|])\s*(?:[A-Za-z_]\w*=\S*\s+)*)([\w.-]*/[\w./-]+)", re.M)


class Block(NamedTuple):
    page: Path
    line: int
    """Of its first line of content, counted from 1."""
    language: str
    text: str

    @property
    def place(self) -> str:
        """As compilers name it."""
        return f"{os.path.relpath(self.page, ROOT)}:{self.line}"


class Command(NamedTuple):
    """A program and its arguments, as bash would start it."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


def pages() -> dict[str, Path]:
    """README, CONTRIBUTING and everything in docs, by their paths in the repository."""
    paths = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    return {str(path.relative_to(ROOT)): path for path in paths}


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, those in lists and tabs without their indentation."""
    blocks: list[Block] = []
    opened: re.Match[str] | None = None
    content: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            opened, content = fence, []
        elif fence and line.strip() == opened["marks"]:
            text = "".join(f"{each}\n" for each in content)
            blocks.append(Block(page, number - len(content), opened["language"], text))
            opened = None
        else:
            content.append(line.removeprefix(opened["indent"]))
    if opened is not None:
        raise ValueError(f"{page}: the block that ends the page is not closed")
    return blocks


def commands_of(block: Block, folder: Path) -> list[Command]:
    """What bash would start in `folder`, in order; it starts nothing."""
    recorder, script, recorded = (
        folder / f".{name}" for name in ("recorder", "script", "recorded")
    )
    recorder.write_text(_RECORDER, encoding="utf-8")
    named = _PROGRAM_BY_PATH.sub(lambda each: each[1] + each[2].replace("/", _SLASH), block.text)
    script.write_text(named, encoding="utf-8")
    recorded.write_bytes(b"")
    result = subprocess.run(
        [_BASH, script.name],
        cwd=folder,
        env={"BASH_ENV": recorder.name, "RECORDED": recorded.name, "PATH": "/nowhere"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode or result.stderr:
        raise AssertionError(f"{block.place}: bash does not understand this:\n{result.stderr}")
    parts = os.fsdecode(recorded.read_bytes()).split("\0")[:-1]
    for path in (recorder, script, recorded):
        path.unlink()
    return list(_commands(block, parts))


def _commands(block: Block, parts: list[str]) -> Iterator[Command]:
    while parts:
        line, count, *rest = parts
        words, parts = rest[: int(count)], rest[int(count) :]
        place = block._replace(line=block.line + int(line) - 1).place
        yield Command(place, (words[0].replace(_SLASH, "/"), *words[1:]))


def docstring_examples() -> list[doctest.DocTest]:
    """Every docstring of the packages with `>>>`, as something to run."""
    parser = doctest.DocTestParser()
    found = []
    for path in (each for root in SOURCES for each in sorted((ROOT / root).rglob("*.py"))):
        source = path.read_text(encoding="utf-8")
        if ">>>" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            text = ast.get_docstring(node, clean=False) if isinstance(node, kinds) else None
            if text and ">>>" in text:
                name = f"{path.relative_to(ROOT)}:{getattr(node, 'name', path.stem)}"
                line = node.body[0].lineno - 1
                found.append(parser.get_doctest(text, {}, name, str(path), line))
    return found
