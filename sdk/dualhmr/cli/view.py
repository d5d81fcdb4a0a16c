"""Look at results in the browser: bodies in 3D, steps or frames.

RESULT is result.html, recovery.npz, a motion's .npz, or the folder that `dualhmr recover` or
`dualhmr video` wrote.
"""

import argparse
from pathlib import Path

NAME = "view"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("result", type=Path, help="a file or a folder of results")
    parser.add_argument("--image", type=Path, help="the photograph, for a recovery.npz")
    parser.add_argument("--body", type=Path, help="body file, for results of SMPL")
    parser.add_argument("--out", type=Path, metavar="HTML", help="write the page there")
    parser.add_argument("--no-browser", action="store_true", help="only say where the page is")


def run(options: argparse.Namespace) -> int:
    """Finds or makes the page, opens it and prints where it is."""
    import tempfile

    from dualhmr.body.files import read_body
    from dualhmr.files import write_text
    from dualhmr.rendering.browser import open_in_browser
    from dualhmr.viewing import result_page, written_page

    path = written_page(options.result) if options.image is None else None
    if path is None:
        body = None if options.body is None else read_body(options.body)
        text = result_page(options.result, image=options.image, body=body)
        path = options.out or Path(tempfile.mkdtemp(prefix="dualhmr-")) / "result.html"
        write_text(path, text)
    elif options.out is not None:
        write_text(options.out, path.read_text(encoding="utf-8"))
        path = options.out
    print(path)
    if not options.no_browser and not open_in_browser(path):
        print("no browser was found here; open the file in one")
    return 0
