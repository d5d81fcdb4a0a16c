"""Makes the pictures in `docs/images` that show this software.

Run: python -m scripts.pictures [NAME ...]
Needs: pip install "dualhmr[dev]"; page.png, page_video.png and demo.png need Chromium
Other pictures come from `dualhmr bench --plot` (latency.png) and `python -m dualhmr_training.curve`
(training_curve.png), or are drawn by hand (architecture.svg). `tests/scripts/test_pictures.py`
compares the files with what the code draws.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scripts.chromium import Page, chromium_page

from dualhmr import Recoverer, Recovery, recover_video
from dualhmr.body.files import read_body
from dualhmr.example import PHOTOGRAPH
from dualhmr.images import load_image
from dualhmr.rendering import keypoint_picture, write_png
from dualhmr.video import VideoWriter
from dualhmr.viewing import result_page
from dualhmr_benchmarks.made_video import FPS, make_video

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
Picture = NDArray[np.uint8]

_PAGE_STEP = 2
"""Where lines between keypoints are long enough to be seen."""
_FRAMES, _SHOWN_FRAME = 100, 22
_READY = "document.documentElement?.dataset.ready === 'yes'"


def keypoints(recovery: Recovery) -> Picture:
    """As `dualhmr detect` draws it."""
    found = recovery.keypoints
    return keypoint_picture(
        load_image(PHOTOGRAPH), found.xy, found.confidence, names=found.set.names
    )


def overlay(recovery: Recovery) -> Picture:
    """As `dualhmr recover` draws it."""
    return recovery.overlay(PHOTOGRAPH, keypoints=True)


def steps(recovery: Recovery) -> Picture:
    """As `dualhmr recover` draws it."""
    return recovery.step_strip(PHOTOGRAPH)


def uncertainty(recovery: Recovery) -> Picture:
    """As `dualhmr recover --color uncertainty` draws it."""
    return recovery.overlay(PHOTOGRAPH, keypoints=True, color="uncertainty")


DRAWN: dict[str, Callable[[Recovery], Picture]] = {
    "keypoints.png": keypoints,
    "overlay.png": overlay,
    "steps.png": steps,
    "uncertainty.png": uncertainty,
}
"""Pictures that are drawn without a browser, besides steps.gif."""


def recover_example() -> Recovery:
    """What the pictures show: the default networks, and the people that are found."""
    return Recoverer().recover(PHOTOGRAPH)


def page(chromium: Page, recovery: Recovery, folder: Path) -> Picture:
    """What `Recovery.save` writes, at a step on the way."""
    path = folder / "page.html"
    recovery.save(path, image=PHOTOGRAPH)
    chromium.open(path, width=960, height=600)
    chromium.wait_for(_READY)
    chromium.run(f"setStep({_PAGE_STEP})")
    return at_rest(chromium)


def page_video(chromium: Page, _: Recovery, folder: Path) -> Picture:
    """Three people of a made video, as `dualhmr view --video` shows what was recovered of them."""
    clip, results, video = folder / "clip.mp4", folder / "people", make_video(read_body())
    results.mkdir()
    with VideoWriter(clip, fps=FPS) as writer:
        for number in range(_FRAMES):
            writer.write(video.frame(number), number / FPS)
    recover_video(clip).save_motions(results)
    path = folder / "video.html"
    path.write_text(result_page(results, video=clip), encoding="utf-8")
    chromium.open(path, width=960, height=600)
    chromium.wait_for(_READY)
    chromium.run(f"setStep(numbers[indexAt(numbers, {_SHOWN_FRAME})])")
    return at_rest(chromium)


def demo(chromium: Page, _: Recovery, __: Path) -> Picture:
    """`dualhmr demo`, after a click on the example."""
    program = "import sys; from dualhmr.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "demo", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            address = re.search(r"http://\S+:\d+/", said)
            assert address, f"expected the demo's address, got {said!r}"
            chromium.open(address[0], width=1000, height=640)
            chromium.wait_for("typeof recover === 'function' && document.readyState === 'complete'")
            chromium.run("document.querySelector('#example').click()")
            chromium.wait_for("!document.querySelector('#save').hidden")
            return at_rest(chromium)
        finally:
            server.terminate()


def at_rest(chromium: Page) -> Picture:
    """The first screenshot that is like the one before it, and shows a picture.

    The demo's frame draws by itself, and says nothing of it to the page around it.
    """
    before = chromium.screenshot()
    for _ in range(60):
        time.sleep(0.5)
        after = chromium.screenshot()
        if after[:, 260:700].std() > 30 and np.array_equal(before, after):
            return after
        before = after
    raise RuntimeError("the page did not come to rest in 60 screenshots")


BROWSED: dict[str, Callable[[Page, Recovery, Path], Picture]] = {
    "page.png": page,
    "page_video.png": page_video,
    "demo.png": demo,
}
"""Screenshots of Chromium. The folder is for files."""
NAMES = (*DRAWN, "steps.gif", *BROWSED)


def main() -> None:
    """Writes the chosen pictures, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (all)")
    chosen = parser.parse_args().names or NAMES
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        parser.error(f"unknown pictures {', '.join(unknown)}; expected some of {', '.join(NAMES)}")
    recovery = recover_example()
    for name in chosen:
        path = IMAGES / name
        if name == "steps.gif":
            recovery.save(path, image=PHOTOGRAPH)
        elif name in DRAWN:
            write_png(path, DRAWN[name](recovery))
        else:
            with (
                tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
                chromium_page(Path(folder) / "profile") as chromium,
            ):
                write_png(path, BROWSED[name](chromium, recovery, Path(folder)))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
