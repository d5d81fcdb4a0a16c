"""The page of bodies in 3D: what is in the file, and what Chromium makes of it."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.solids import sphere
from numpy.typing import NDArray
from scripts.chromium import CHROMIUM, Page, chromium_page

from dualhmr.rendering.page import PagePerson, PageVideo, jpeg, page

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
PHOTO = np.full((120, 160, 3), (40, 160, 60), np.uint8)
HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{data}}<!--.jpg"
CAMERA: dict[str, Any] = {"focal_length": 150.0, "principal_point": (79.5, 59.5)}


def balls(count: int = 2, steps: int = 3) -> tuple[list[PagePerson], NDArray[np.int64]]:
    """Spheres that grow by the step, and are 3 m away."""
    persons = []
    for number in range(count):
        solids = [sphere((0.9 * number - 0.4, 0, 3), 0.3 + 0.15 * k, 3) for k in range(steps)]
        vertices = np.stack([each.vertices for each in solids]).astype(np.float32)
        observed = np.array([[60 + 30 * number, 50], [np.nan, np.nan], [90, 70]])
        keypoints = np.repeat(observed[None] + 5, steps, axis=0)
        keypoints[:, 2] = np.nan
        rows = list(range(steps))
        persons.append(
            PagePerson(
                number,
                rows,
                vertices,
                vertices[:, :24],
                keypoints,
                observed,
                [1.0] * steps,
                np.full(vertices.shape[1], 0.3),
            )
        )
    return persons, solids[0].faces


class Elements(HTMLParser):
    """What a browser would find: elements with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}, ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def data_of(text: str) -> dict[str, Any]:
    (data,) = (body for attributes, body in Elements(text).of("script") if attributes)
    return json.loads(data)


def test_vertices_are_kept_to_a_tenth_of_a_millimetre() -> None:
    persons, faces = balls()
    data = data_of(page(persons, faces, PARENTS, image=PHOTO, **CAMERA))
    assert np.frombuffer(base64.b64decode(data["faces"]), "<u4").tolist() == faces.ravel().tolist()
    for person, kept in zip(persons, data["persons"], strict=True):
        quantised = np.frombuffer(base64.b64decode(kept["vertices"]), "<u2")
        metres = quantised.reshape(person.vertices.shape) * kept["scale"] + kept["low"]
        np.testing.assert_allclose(metres, person.vertices, atol=5e-5)
        assert kept["observed"] == person.observed[[0, 2]].tolist()  # those that there are
        assert kept["keypoints"][0] == [(person.observed[0] + 5).tolist(), None]
        assert kept["error_px"] == pytest.approx([50**0.5] * 3)
    assert data["behind_m"] > max(person.vertices[..., 2].max() for person in persons)


def test_a_hostile_title_stays_text() -> None:
    persons, faces = balls()
    harmless = Elements(page(persons, faces, PARENTS, image=PHOTO, title="a", **CAMERA))
    hostile = Elements(page(persons, faces, PARENTS, image=PHOTO, title=HOSTILE, **CAMERA))
    assert [tag for tag, *_ in hostile.found] == [tag for tag, *_ in harmless.found]
    assert hostile.of("title")[0][1].strip() == hostile.of("h1")[0][1].strip() == HOSTILE


def test_only_the_scripts_of_the_page_may_run_and_nothing_is_loaded() -> None:
    elements = Elements(page([], balls()[1], PARENTS, title=HOSTILE, **CAMERA))
    policy = next(a for a, _ in elements.of("meta") if "http-equiv" in a)["content"]
    assert policy is not None
    scripts = [text for attributes, text in elements.of("script") if not attributes]
    assert len(scripts) == 2
    for text in (*scripts, elements.of("style")[0][1]):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not any({"src", "href"} & attributes.keys() for _, attributes, _ in elements.found)
    # What would end a script early, wherever it stands.
    assert not re.search(r"</script|<!--", "".join(scripts), re.IGNORECASE)
    assert "Copyright © 2010" in scripts[0]
    assert "permission notice shall be included" in scripts[0]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_chromium_shows_bodies_photograph_and_steps(tmp_path: Path) -> None:
    persons, faces = balls()
    path = tmp_path / "a page.html"
    text = page(persons, faces, PARENTS, image=PHOTO, title=HOSTILE, **CAMERA)
    path.write_text(text, encoding="utf-8")
    with chromium_page(tmp_path / "profile") as chromium:
        chromium.open(path, width=800, height=360)
        chromium.wait_for("document.documentElement?.dataset.ready === 'yes'")
        assert chromium.run("document.title") == HOSTILE
        chromium.run("document.querySelector('[data-shows=keypoints]').click()")
        last = chromium.screenshot()[:, :520]
        chromium.run("(s => { s.value = 0; s.oninput(); })(document.getElementById('step'))")
        first = chromium.screenshot()[:, :520]
        chromium.run("document.querySelector('[data-shows=uncertainty]').click()")
        tinted = chromium.screenshot()[:, :520]
        chromium.run("document.querySelector('[data-view=side]').click()")
        side = chromium.screenshot()[:, :520]
        video = tmp_path / "video.html"
        video.write_text(video_page(), encoding="utf-8")
        chromium.open(video, width=390, height=600)
        check_video(chromium)
        problems = chromium.problems
    assert problems == []
    seen_at_first, seen_at_last = (_share(each, PHOTO[0, 0], 12) for each in (first, last))
    assert seen_at_first > 0.3  # the photograph, in its own colour
    assert seen_at_last < seen_at_first - 0.1  # larger bodies hide more of it
    assert np.abs(first.astype(int) - side).mean() > 5
    most = tinted[120:180].astype(int)  # the balls, 20 cm off and more: yellow, little blue
    assert ((most[..., 0] > 120) & (most[..., 2] < most[..., 0] // 2)).mean() > 0.1


def video_page() -> str:
    """Of 4 frames, green and then red; the second person is in the last two, in one by guess."""
    (first, second), faces = balls(steps=4)
    late = {"steps": [2, 3], "seen": [True, False], "vertices": second.vertices[:2]}
    late |= {"joints": second.joints[:2], "keypoints": second.keypoints[:2], "losses": [1.0] * 2}
    colours = [PHOTO, PHOTO, PHOTO[..., [1, 0, 2]], PHOTO[..., [1, 0, 2]]]
    video = PageVideo(2.0, (160, 120), {n: jpeg(each, 99, 90) for n, each in enumerate(colours)})
    people = [replace(first, seen=[True] * 4), replace(second, **late)]
    return page(people, faces, PARENTS, video=video, **CAMERA)


def check_video(chromium: Page) -> None:
    """Its pictures change with the slider, the keys, the time line and by themselves."""
    chromium.wait_for("document.documentElement?.dataset.ready === 'yes'")
    assert chromium.run("document.documentElement.scrollWidth") == 390
    assert _share(chromium.screenshot()[:250], PHOTO[0, 0], 12) > 0.2
    for key, words in (("ArrowRight", "frame 1 of 3, 0.50 s"), ("End", "frame 3 of 3, 1.50 s")):
        chromium.ask("Input.dispatchKeyEvent", type="keyDown", key=key)
        assert chromium.run("document.getElementById('step-words').textContent") == words
    red = "!document.getElementById('step').ariaValueText.includes('frame 3') || backdrop.at === 3"
    chromium.wait_for(red)
    assert _share(chromium.screenshot()[:250], PHOTO[0, 0, [1, 0, 2]], 12) > 0.2
    times = "document.querySelectorAll('.times')"
    labels = f"[...{times}].map(each => each.ariaLabel).join('; ')"
    assert chromium.run(labels) == "in frames 0 to 3; in frames 2 to 2"
    x, y = chromium.run(
        f"(b => [b.left + 0.4 * b.width, b.top + 3])({times}[1].getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        chromium.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert chromium.run("[stepNow(), persons.map(isShown).join()].join()") == "1,true,false"
    chromium.run("document.getElementById('play').click()")
    chromium.wait_for("stepNow() === 3 && playing === null")


def _share(picture: NDArray[np.uint8], colour: NDArray[np.uint8], tolerance: int) -> float:
    return float((np.abs(picture.astype(int) - colour) <= tolerance).all(-1).mean())
