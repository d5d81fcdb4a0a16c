"""What `mkdocs.yml` cannot say of the documentation site; mkdocs calls these hooks.

Pages link to files of the repository, as readers of the repository need it. Some of these files
become pages of the site (`ROOT_PAGES`, notices, notebooks), the scripts of `examples` become
sections of one page, and links to all of them are made to lead there. The page of the command line
is written from the parsers.
"""

import argparse
import posixpath
import re
from html import unescape
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

import dualhmr
from dualhmr.cli import parsers

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXAMPLES, EXAMPLES_PAGE = ROOT / "examples", "how_to/examples.md"
COMMANDS_MARK = "<!-- The site has the options of every subcommand here. -->"
ROOT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
NOTICES = {
    path: f"notices/{path.parent.name if path.name == 'NOTICE.md' else path.stem.lower()}.md"
    for folder in ("sdk", "training")
    for path in sorted((ROOT / folder).rglob("*NOTICE.md"))
}
NOTEBOOKS = {
    path: f"notebooks/{path.name}" for path in sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
}
PUBLIC = {name for name in (*vars(dualhmr), "Body", "load_body") if not name.startswith("_")}
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")
NAME = re.compile(r"<code>((dualhmr\w*\.)?([A-Za-z_]\w*)((?:\.\w+)*))((?:\([^<]*\))?)</code>")
WITHOUT_NAMES = re.compile(r"(<(a|pre|script|style|iframe|h\d|autoref)\b.*?</\2>)", re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
# Of notebooks: they would fetch MathJax and Mermaid from other hosts.
LOADING_SCRIPT = re.compile(
    r"<script\b[^>]*>(?:(?!</script>).)*(?:mermaid|MathJax)(?:(?!</script>).)*</script>", re.DOTALL
)
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Notebooks stand in the navigation where there are any."""
    if NOTEBOOKS and config.nav:
        how_to = next(entry["How to"] for entry in config.nav if "How to" in entry)
        how_to.append({"Notebooks": list(NOTEBOOKS.values())})
    return config


@event_priority(100)  # before mkdocs-jupyter, which looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files of the repository that become pages."""
    for name, uri in ROOT_PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    for uri in NOTEBOOKS.values():  # mkdocs-jupyter knows no generated files
        files.append(File(uri, str(EXAMPLES), config.site_dir, config.use_directory_urls))
    for path, uri in NOTICES.items():
        file = File.generated(
            config, uri, abs_src_path=str(path), inclusion=InclusionLevel.NOT_IN_NAV
        )
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Links lead to pages; commands, scripts and the plots of tables are added."""
    source = Path(page.file.abs_src_path or DOCS)
    parts = FENCE.split(markdown)
    parts[::2] = [_linked(part, source.parent, page.file.src_uri) for part in parts[::2]]
    markdown = "".join(parts)
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri.startswith("results/claims/"):
        markdown += "".join(f"\n![]({path.name})\n" for path in sorted(source.parent.glob("*.png")))
    if page.file.src_uri == EXAMPLES_PAGE:
        markdown += "".join(_example(path) for path in sorted(EXAMPLES.glob("*.py")))
    return markdown.replace(COMMANDS_MARK, _commands()) if COMMANDS_MARK in markdown else markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Names of the API in the text lead to the reference; formulas of notebooks become MathML."""
    in_notebook = page.file.src_uri.endswith(".ipynb")
    if in_notebook:
        html = LOADING_SCRIPT.sub("", html)
    parts = WITHOUT_NAMES.split(html)
    for place, part in enumerate(parts[::3]):
        linked = NAME.sub(_to_reference, part)
        parts[3 * place] = FORMULA.sub(_to_mathml, linked) if in_notebook else linked
    del parts[2::3]  # the names of the elements between
    return "".join(parts)


def _to_mathml(formula: re.Match[str]) -> str:
    display, inline = formula.groups()
    how = "block" if display else "inline"
    return latex2mathml.converter.convert(unescape(display or inline), display=how)


def _to_reference(name: re.Match[str]) -> str:
    """A reference that mkdocs-autorefs resolves; what it does not know stays as it is."""
    whole, package, first, _, call = name.groups()
    if not package and first not in PUBLIC:
        return name[0]
    identifier = whole if package else f"dualhmr.{whole}"
    return f'<autoref identifier="{identifier}" optional><code>{whole}{call}</code></autoref>'


def _linked(text: str, folder: Path, page: str) -> str:
    """The same text with links of the site."""

    def to_page(link: re.Match[str]) -> str:
        uri = _uri((folder / link[1]).resolve())
        if uri is None:
            return link[0]
        uri, _, anchor = uri.partition("#")
        target = posixpath.relpath(uri, posixpath.dirname(page) or ".")
        return f"]({target}{link[2] or (anchor and f'#{anchor}')})"

    return LINK.sub(to_page, text)


def _uri(target: Path) -> str | None:
    """Of a file of the repository among the pages of the site; None for one that has no page."""
    if target == ROOT / "README.md":
        return "index.md"
    if target == EXAMPLES:
        return EXAMPLES_PAGE
    if target.parent == EXAMPLES and target.suffix == ".py":
        return f"{EXAMPLES_PAGE}#{target.stem}"
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    pages = {ROOT / name: uri for name, uri in ROOT_PAGES.items()} | NOTICES | NOTEBOOKS
    return pages.get(target)


def _example(path: Path) -> str:
    return f"\n\n## {path.name} {{ #{path.stem} }}\n\n```python\n{path.read_text('utf-8')}```\n"


def _commands() -> str:
    """A section for every subcommand: what it does, its usage, and a table of its options."""
    _, commands = parsers()
    return "\n".join(_command(name, parser) for name, parser in commands.items())


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    first, _, more = (parser.description or "").partition("\n")
    text = f"## dualhmr {name} {{ #{name} }}\n\n{first}\n"
    if more.strip():
        text += f"\n{more.strip().replace('<', '&lt;')}\n"
    text += f"\n```text\n{parser.format_usage().strip()}\n```\n\n| argument | what |\n|---|---|\n"
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
            text += f"| {_argument(action)} | {_said(action, formatter)} |\n"
    return text


def _said(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    """The help, and the default where the help does not end with one."""
    said = formatter._expand_help(action) if action.help else ""
    plain = isinstance(action.default, str | int | float) and not isinstance(action.default, bool)
    if plain and str(action.default) not in said:
        said = f"{said} (default: {action.default})".strip()
    return _cell(said)


def _argument(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.nargs == 0:
        return names
    values = action.metavar or action.dest.upper()
    shown = " ".join(values) if isinstance(values, tuple) else values
    if action.choices is not None and action.metavar is None:
        shown = "{" + ",".join(map(str, action.choices)) + "}"
    more = " ..." if action.nargs in ("+", "*") else ""
    return f"{names} `{shown}{more}`".strip().replace("|", "\\|")


def _cell(text: str) -> str:
    """Of a table: without what Markdown or HTML would read as more than text."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
