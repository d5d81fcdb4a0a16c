"""What README, CONTRIBUTING and docs name exists: files, modules, links, layers, versions."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from test_imports import LAYERS

import dualhmr
from dualhmr.recovery_files import _SHAPES

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")))
}
PATH = re.compile(
    r"(?<![\w./-])(?:sdk|training|export|benchmarks|scripts|tests|docs|examples)/[\w./-]*[\w/]"
)
LINK = re.compile(r"\]\(([^)#:\s]+)\)")
DOTTED = re.compile(r"`(dualhmr(?:_\w+)?(?:\.\w+)+)(?:\(.*\))?`")
ENTRY_POINT_GROUP = "dualhmr.commands"


def resolve(name: str) -> object:
    """A module, or an attribute of one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(resolve(module), attribute)


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_links_lead_somewhere(page: str) -> None:
    missing = [path for path in PATH.findall(PAGES[page]) if not (ROOT / path).exists()]
    folder = (ROOT / page).parent
    missing += [link for link in LINK.findall(PAGES[page]) if not (folder / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_what_is_in_them_exist(page: str) -> None:
    for name in DOTTED.findall(PAGES[page]):
        if name != ENTRY_POINT_GROUP:
            resolve(name)


def test_the_names_in_lists_of_steps_are_those_of_the_code() -> None:
    steps = PAGES["CONTRIBUTING.md"].partition("## How to add")[2].partition("\n## ")[0]
    roots = ("sdk", "training", "export", "benchmarks", "tests", "scripts")
    sources = [path.read_text(encoding="utf-8") for r in roots for path in (ROOT / r).rglob("*.py")]
    words = set(re.findall(r"\w+", "\n".join(sources)))
    names = set(re.findall(r"`(\w+)(?:\(\w*\))?`", steps))
    assert len(names) > 20
    assert names <= {*words, *(path.name for path in ROOT.iterdir())}


def test_every_page_can_be_reached_from_the_readme() -> None:
    """By links, where a page of the site shows the navigation too."""
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = (ROOT / page).parent
        found = {
            str((links / link).resolve().relative_to(ROOT.resolve()))
            for link in LINK.findall(PAGES[page])
        }
        if page == "docs/index.md":
            found |= set(NAVIGATION)
        waiting += sorted((found & PAGES.keys()) - reached)
    assert reached == PAGES.keys()


def pages_of(entry: Any) -> list[str]:
    """Of a part of the navigation of mkdocs, in order, as files of the repository."""
    if isinstance(entry, str):
        root = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
        return [root.get(entry, f"docs/{entry}")]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages_of(part)]


NAVIGATION = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])


def test_the_site_has_every_page_once() -> None:
    assert len(NAVIGATION) == len(set(NAVIGATION))
    assert set(NAVIGATION) == PAGES.keys() - {"README.md"}


def test_the_reference_has_every_public_name() -> None:
    reference = "\n".join(text for page, text in PAGES.items() if "/reference/" in page)
    names = {name for name in vars(dualhmr) if not name.startswith("_")} | {"Body", "load_body"}
    public = {name for name in names if not inspect.ismodule(getattr(dualhmr, name))}
    assert len(public) > 30
    described = re.findall(r"^::: dualhmr\.(\w+)$", reference, re.MULTILINE)
    assert public - {"Any", "TYPE_CHECKING"} == set(described)


def test_a_how_to_begins_with_what_comes_out_and_a_block_that_makes_it() -> None:
    pages = [page for page in PAGES if "/how_to/" in page and not page.endswith("/examples.md")]
    assert len(pages) > 10
    for page in pages:
        title, _, start = PAGES[page].partition("\n## ")[0].partition("\n\n")
        assert title.startswith("# "), page
        assert re.match(r"[^`#|!].*?^```(bash|python)$", start, re.MULTILINE | re.DOTALL), page


def test_the_page_on_formats_has_every_array_of_a_recovery() -> None:
    section = PAGES["docs/reference/formats.md"].partition("## `recovery.npz`")[2]
    rows = re.findall(r"^\| (`.*?) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(_SHAPES)


def test_the_page_on_architecture_has_the_layers_of_the_code() -> None:
    rows = re.findall(r"^\d\. ((?:`\w+`,? ?)+):", "\n".join(_layer_lines()), re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == list(LAYERS)


def _layer_lines() -> list[str]:
    text = PAGES["docs/concepts/architecture.md"]
    section = text[text.index("## Layers") :]
    # Items may be wrapped: one line each.
    return re.sub(r"\n {3}", " ", section).splitlines()


def test_the_drawing_has_the_layers_of_the_code() -> None:
    drawing = ElementTree.parse(ROOT / "docs" / "images" / "architecture.svg")
    (group,) = [each for each in drawing.iter() if each.get("id") == "layers"]
    rows = [text.text.split(" · ") for text in group if text.tag.endswith("text")]
    assert all(len(row) == len(set(row)) for row in rows)
    assert [set(row) for row in reversed(rows)] == list(LAYERS)


def test_the_citation_and_the_package_are_of_one_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {dualhmr.__version__}\n" in citation
    assert f"\n## {dualhmr.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_commits_are_checked_by_the_linters_of_make() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    linters = re.findall(r"^\t\$\(BIN\)/((?:ruff|mypy).*)$", makefile, re.MULTILINE)
    assert linters
    for linter in linters:
        program = linter.removesuffix(" .").removesuffix(" --check")
        assert f"entry: .venv/bin/{program}" in hooks.replace(" --force-exclude", "")


def test_continuous_integration_runs_the_oldest_versions() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"$', project, re.MULTILINE)
    (dependencies,) = re.findall(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    oldest = re.findall(r'"([a-z]+)>=([\d.]+)"', dependencies)
    newest = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)[-1]
    assert f'python: "{python}"\n            constraint: ' in workflow
    assert len(oldest) >= 5
    for name, version in oldest:
        # The newest patch of a minor version.
        assert f"{name}=={version}" + (".*" if version.count(".") == 1 else "") in workflow
    assert f'python: "{newest}"\n' in workflow
