"""Look at results in the browser: bodies in 3D, steps or frames.

RESULT is result.html, recovery.npz, a motion's .npz, or the folder that `dualhmr recover` or
`dualhmr video` wrote. A video in the folder is shown behind its bodies; --video names another one.
"""

import argparse
import sys
from pathlib import Path

NAME = "view"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("result", type=Path, help="a file or a folder of results")
    parser.add_argument("--image", type=Path, help="the photograph, for a recovery.npz")
    parser.add_argument("--video", type=Path, help="the video, for motions of one")
    parser.add_argument("--body", type=Path, help="body file, for results of SMPL")
    parser.add_argument("--out", type=Path, metavar="HTML", help="write the page there")
    parser.add_argument("--no-browser", action="store_true", help="only say where the page is")


def run(options: argparse.Namespace) -> int:
    """Finds or makes the page, opens it and prints where it is."""
    import tempfile

    from dualhmr.files import write_text
    from dualhmr.rendering.browser import open_in_browser
    from dualhmr.viewing import written_page

    given = (options.image, options.video)
    path = written_page(options.result) if given == (None, None) else None
    if path is None:
        text = _page(options)
        path = options.out or Path(tempfile.mkdtemp(prefix="dualhmr-")) / "result.html"
        write_text(path, text)
    elif options.out is not None:
        write_text(options.out, path.read_text(encoding="utf-8"))
        path = options.out
    print(path)
    if not options.no_browser and not open_in_browser(path):
        print("no browser was found here; open the file in one")
    return 0


def _page(options: argparse.Namespace) -> str:
    from dualhmr.body.files import read_body
    from dualhmr.viewing import named_video, result_page

    body = None if options.body is None else read_body(options.body)
    found = named_video(options.result) if (options.image or options.video) is None else None
    if found is not None:
        try:
            return result_page(options.result, video=found, body=body)
        except (ImportError, OSError, ValueError) as error:
            print(f"the page is without the video: {error}", file=sys.stderr)
    return result_page(options.result, image=options.image, video=options.video, body=body)
