"""Shows a page: in a notebook's cell, or in the browser."""

import html
import os
import sys
import tempfile
import webbrowser
from pathlib import Path

from dualhmr.files import write_text

_CELL_HEIGHT = 600


def show_page(text: str) -> Path | None:
    """Shows the text of a page in the cell of a notebook that runs this, else in the browser.

    For the browser it is written into a new temporary folder, whose file is returned: it is not
    deleted, as the browser may read it later.
    """
    if _in_notebook():
        from IPython.display import HTML, display

        frame = f'<iframe srcdoc="{html.escape(text)}" width="100%" height="{_CELL_HEIGHT}">'
        # In a div, as IPython warns of a bare frame: it expects one with an address.
        display(HTML(f"<div>{frame}</iframe></div>"))
        return None
    path = Path(tempfile.mkdtemp(prefix="dualhmr-")) / "result.html"
    write_text(path, text)
    open_in_browser(path)
    return path


def open_in_browser(page: Path | str) -> bool:
    """Whether there is a display and a browser that opens the file, or the address."""
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False  # `webbrowser` would start one for terminals, and wait for it
    return webbrowser.open(page if isinstance(page, str) else page.resolve().as_uri())


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
