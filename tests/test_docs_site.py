"""`make docs`: without a warning, and nothing in its pages is loaded from another host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")

ROOT = Path(__file__).parents[1]
# What a browser loads by itself; links that a reader follows are no part of it.
LOADS = (
    re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']?([^\"' >]+)"),
    re.compile(r"<link\b(?![^>]*rel=[\"']?(?:canonical|next|prev))[^>]*?\bhref=[\"']?([^\"' >]+)"),
    re.compile(r"@import\s+(?:url\()?[\"']?([^\"');]+)"),
    re.compile(r"url\([\"']?([^\"')]+)"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir"]
    built = subprocess.run(
        [*command, str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    pages = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    loaded = {
        url
        for page in pages
        for pattern in LOADS
        for url in pattern.findall(page.read_text(encoding="utf-8"))
    }
    assert len(pages) > 40
    assert [url for url in loaded if url.endswith("site.css")]
    assert not [url for url in loaded if re.match(r"(?:\w+:)?//", url)]
    # Of scripts: the theme's would fetch Mermaid for a page with one of its diagrams.
    texts = [page.read_text(encoding="utf-8") for page in pages if page.suffix == ".html"]
    assert not [text for text in texts if 'class="mermaid"' in text or "cdnjs" in text]


def test_pages_hold_what_is_written_elsewhere(site: Path) -> None:
    commands = (site / "reference/command_line.html").read_text(encoding="utf-8")
    assert "--min-person-score" in commands  # an option of `recover`
    assert 'id="reproduce"' in commands  # a subcommand of another package
    recovering = (site / "reference/recovering.html").read_text(encoding="utf-8")
    assert 'id="dualhmr.Recoverer.stream"' in recovering
    assert "(P, 23, 3, 3)" in recovering
    examples = (site / "how_to/examples.html").read_text(encoding="utf-8")
    assert 'id="one_photo"' in examples
    contributing = (site / "contributing.html").read_text(encoding="utf-8")
    assert 'href="concepts/architecture.html"' in contributing
    assert "dualhmr_training" in (site / "search/search_index.json").read_text(encoding="utf-8")
    for notebook in (ROOT / "examples" / "notebooks").glob("*.ipynb"):
        page = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert "$" not in re.sub(r"<(pre|script|style|iframe)\b.*?</\1>", "", page, flags=re.DOTALL)
