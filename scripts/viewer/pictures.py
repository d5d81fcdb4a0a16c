"""Makes the pictures of pages in docs/images, in Chromium: page.png, page_video.png, demo.png.

    PYTHONPATH=tests python scripts/viewer/pictures.py [page page_video demo]

Needs Chromium and the extras serve, video and train (the made video is of the benchmarks).
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from helpers.chromium import Page, chromium_page  # type: ignore[import-not-found]
from helpers.http_client import served  # type: ignore[import-not-found]
from PIL import Image

from dualhmr import Recoverer, recover, recover_video
from dualhmr.body.files import read_body
from dualhmr.detection import open_detector
from dualhmr.example import PHOTOGRAPH
from dualhmr.serving.app import Limits, make_app
from dualhmr.serving.demo import Choices, ChoosingService, schedules_of
from dualhmr.video import VideoWriter
from dualhmr.viewing import result_page
from dualhmr_benchmarks.made_video import FPS, make_video

IMAGES = Path(__file__).parents[2] / "docs" / "images"
_READY = "document.documentElement?.dataset.ready === 'yes'"
_FRAMES, _SHOWN = 100, 22


def page(chromium: Page, folder: Path) -> None:
    """The example, as `Recovery.save` writes it."""
    path = folder / "page.html"
    recover(PHOTOGRAPH).save(path, image=PHOTOGRAPH)
    chromium.open(path, width=960, height=600)
    chromium.wait_for(_READY)


def page_video(chromium: Page, folder: Path) -> None:
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
    chromium.run(f"setStep(numbers[indexAt(numbers, {_SHOWN})])")


def demo(chromium: Page, _: Path) -> None:
    """The demo with the example."""
    recoverer = Recoverer()
    choices = Choices(schedules_of(recoverer), {"movenet": open_detector()})
    with served(make_app(ChoosingService(recoverer), Limits(), choices=choices)) as client:
        chromium.open(f"http://127.0.0.1:{client.port}/", width=1000, height=640)
        chromium.wait_for("document.readyState === 'complete'")
        chromium.run("document.querySelector('#example').click()")
        chromium.wait_for("!document.querySelector('#save').hidden")
        before = np.zeros(0)
        while (now := chromium.screenshot()[:, 260:]).std() < 40 or not np.array_equal(now, before):
            before = now  # the frame draws by itself, and says nothing of it to the page around it
            time.sleep(0.5)


def main() -> None:
    """Makes those that are named, or all."""
    makers = {each.__name__: each for each in (page, page_video, demo)}
    for name in sys.argv[1:] or makers:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            with chromium_page(Path(folder) / "profile") as chromium:
                makers[name](chromium, Path(folder))
                time.sleep(0.5)
                picture = Image.fromarray(chromium.screenshot())
            picture.save(IMAGES / f"{name}.png", optimize=True)
        print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
