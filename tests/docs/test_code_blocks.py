"""Every code block of README, CONTRIBUTING and docs runs, and so do the examples in docstrings.

Blocks of a page run in their order, in one namespace and one folder, on small files that are made
here (`helpers/reader_files.py`). bash says which commands a block of them starts; what happens to
each is in `helpers/block_commands.py`.
"""

import doctest
import functools
import io
import json
import re
import tempfile
import traceback
import webbrowser
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.block_commands import OTHER_PROGRAMS, PARSED, run_command
from helpers.narrow_networks import narrow_networks
from helpers.page_blocks import ROOT, Block, blocks_of, commands_of, docstring_examples, pages
from helpers.reader_files import FILES, variables

import dualhmr_export.export
from dualhmr import EngineOptions, outputs
from dualhmr.detection import movenet
from dualhmr.engines import onnxruntime_network
from dualhmr.jobs import job
from dualhmr.jobs.items import JobItem
from dualhmr.jobs.worker import JobWorker, Outcome
from dualhmr.person_fitting import adaptation_graph
from dualhmr.video import frames
from dualhmr_export.bundle_folder import write_torch_bundle

LANGUAGES = ("python", "bash", "json", "text")
PAGES = {name: blocks for name, path in pages().items() if (blocks := blocks_of(path))}
EXAMPLES = docstring_examples()


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
    """Opens each file once, on one thread: pages open the same networks again and again."""
    once = functools.cache(onnxruntime_network.open_session)

    def opened(*arguments: Any, options: EngineOptions, **others: Any) -> Any:
        return once(*arguments, options=replace(options, threads=1), **others)

    return opened


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
    run_blocks(PAGES[page], folder, monkeypatch)


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


WRONG = {
    "```\nmake test\n```": "begin it with one of",
    "```json\n{1}\n```": "Expecting property name",
    "```python\nimport dualhmr\ndualhmr.recovr()\n```": "no attribute 'recovr'",
    "```bash\nfor\n```": "syntax error",
    "```bash\ndualhmr info\necho $unset\n```": "unset",
    "```bash\ndualhmr info  # it\ndualhmr info --bundel x\n```": "arguments: --bundel",
    "```bash\ndualhmr view \\\n    results\n```": "results does not exist",
    "```bash\ndualhmr serve --prot 8000\n```": "arguments: --prot 8000",
    "```bash\nfor seed in 1 2; do\n  dualhmr train demo --sed $seed\ndone\n```": "sed",
    "```bash\npython benchmarks/scripts/seeds.py --grup a b\n```": "--grup",
    "```bash\npython -m dualhmr_training.curv runs\n```": "no module dualhmr_training.curv",
    "```bash\npip install 'dualhmr[cuda99]'\n```": "cuda99",
    "```bash\nmake everything\n```": "everything",
    "```bash\n.ci/walk\n```": ".ci/walk",
    "```bash\nX=1 wget page\n```": "say in OTHER_PROGRAMS",
}


@pytest.mark.parametrize("text", WRONG, ids=WRONG.values())
def test_what_is_wrong_is_found_and_named(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = folder / "page.md"
    page.write_text(f"# A list\n\n- of\n\n{text}\n", encoding="utf-8")
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        run_blocks(blocks_of(page), folder, monkeypatch)
    assert WRONG[text] in str(caught.value)
    assert re.search(
        r"page\.md(:|\", line )[67]", "".join(traceback.format_exception(caught.value))
    )


def test_a_block_in_a_list_is_read_without_its_indentation(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("1. a\n\n   ```python hl=1\n   if a:\n       b\n   ```\n", encoding="utf-8")
    assert [block[1:] for block in blocks_of(page)] == [(4, "python", "if a:\n    b\n")]
    page.write_text("```text\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not closed"):
        blocks_of(page)


def test_bash_says_what_starts(folder: Path) -> None:
    text = "A=1 a 'b c' # d\nfor n in 1 2; do\n  a/b --n $n \\\n     x?\ndone; cd e\n"
    words = [
        (command.place.rpartition(":")[2], *command.words)
        for command in commands_of(Block(folder / "page.md", 10, "bash", text), folder)
    ]
    assert words == [
        ("10", "a", "b c"), ("12", "a/b", "--n", "1", "x?"), ("12", "a/b", "--n", "2", "x?"),
        ("14", "cd", "e"),
    ]  # fmt: skip


def run_blocks(blocks: list[Block], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(folder, "".join(block.text for block in blocks))
    names = {"__name__": "__main__", **variables()}
    for block in blocks:
        if block.language == "python":
            run_python(block, names)
        elif block.language == "bash":
            for command in commands_of(block, folder):
                run_command(command, monkeypatch)
        elif block.language == "json":
            read_json(block)
        else:
            assert block.language in LANGUAGES, f"{block.place}: begin it with one of {LANGUAGES}"


def read_json(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError as error:
        pytest.fail(f"{block.place}: {error}")
