"""The page of `dualhmr demo`: what it may load, what may be chosen, and what Chromium shows."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.http_client import Client, served
from scripts.chromium import CHROMIUM, Page, chromium_page

from dualhmr import Recoverer
from dualhmr.detection import open_detector
from dualhmr.example import PHOTOGRAPH
from dualhmr.serving.app import Limits, make_app
from dualhmr.serving.demo import Choices, ChoosingService, demo_page, schedules_of

HOSTILE = "</option><script>alert(1)</script>"


@pytest.fixture(scope="module")
def choices() -> Choices:
    detectors = {"movenet": open_detector(), HOSTILE: open_detector(lambda _: 1 / 0)}
    return Choices(("release", "trained"), detectors)


@pytest.fixture(scope="module")
def client(choices: Choices) -> Iterator[Client]:
    service = ChoosingService(Recoverer())
    with served(make_app(service, Limits(), choices=choices)) as client:
        yield client


def steps_of(client: Client, parameters: str) -> list[int]:
    """Of each person in the example."""
    reply = client("POST", f"/recover?{parameters}", PHOTOGRAPH.read_bytes())
    assert reply.status == 200, reply.body
    return [person["steps"] for person in reply.plain["persons"]]


def test_the_page_loads_nothing_from_elsewhere(client: Client, choices: Choices) -> None:
    reply = client("GET", "/")
    policy, text = reply.headers["content-security-policy"], reply.body.decode()
    assert reply.status == 200
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert policy.startswith("default-src 'none'; img-src 'self' data:; connect-src 'self'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) == {"data:,", "/example.png"}
    assert "innerHTML" not in text
    assert len(re.findall("<script", text)) == 1
    assert "&lt;/option&gt;&lt;script&gt;" in text
    labelled = set(re.findall(r'<label for="(\w+)"', text))
    labelled |= set(re.findall(r'<label[^>]*>[^<]*<(?:select|input) id="(\w+)"', text))
    assert labelled == set(re.findall(r'<(?:select|input) id="(\w+)"', text))
    assert demo_page(choices) == (text, policy)
    assert client("GET", "/example.png").body == PHOTOGRAPH.read_bytes()


def test_a_result_as_a_page_has_no_origin(client: Client) -> None:
    reply = client("POST", "/recover?format=html&max_steps=1", PHOTOGRAPH.read_bytes())
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.headers["content-security-policy"] == "sandbox allow-scripts"
    assert reply.headers["x-persons"] == "1"
    assert reply.body.startswith(b"<!DOCTYPE html>")
    assert b"data:image/jpeg" in reply.body


def test_schedule_and_steps_can_be_chosen(client: Client) -> None:
    assert steps_of(client, "max_steps=0") == [0]
    assert steps_of(client, "schedule=trained&max_steps=2&detector=movenet") == [2]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("schedule=eft", "unknown schedule 'eft'; known are release, trained"),  # not of the list
        ("detector=ultralytics:/etc/passwd", "unknown detector 'ultralytics:/etc/passwd'"),
        ("detector=", "unknown detector ''"),
        ("max_steps=51", "max_steps is '51', expected 0 to 50"),
        ("max_steps=-1", "expected 0 to 50"),
        ("max_steps=" + 9 * "9" * 999, "expected 0 to 50"),
        ("bundle=/tmp", "unknown parameter 'bundle'"),
    ],
)
def test_what_is_no_choice_is_refused(client: Client, parameters: str, message: str) -> None:
    reply = client("POST", f"/recover?{parameters}", b"x")
    assert message in reply.plain["error"]
    assert reply.status == 400


def test_graphs_of_one_schedule_leave_no_choice() -> None:
    recoverer = Recoverer(adaptation="onnx")
    assert schedules_of(recoverer) == (recoverer.bundle.manifest.schedule.name,)


PROGRAM = """
from argparse import ArgumentParser
from dualhmr.cli import demo
parser = ArgumentParser()
demo.add_arguments(parser)
raise SystemExit(demo.run(parser.parse_args()))
"""


def test_the_command_says_where_the_page_is() -> None:
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.fullmatch(r"the demo is at http://127\.0\.0\.1:(\d+)/; Ctrl-C ends it\n", said)
        assert found, said
        assert b"<option>trained</option>" in Client(int(found[1]))("GET", "/").body
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=30)
    assert rest == ""
    assert "Traceback" not in errors


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_chromium_shows_the_example_and_errors_as_text(client: Client, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{client.port}/"
    with chromium_page(tmp_path / "profile") as chromium:
        chromium.open(address, width=1000, height=500)
        chromium.wait_for("typeof recover === 'function' && document.readyState === 'complete'")
        chromium.run("document.querySelector('#max_steps').value = 2")
        chromium.run("covered = false")
        chromium.run(
            "new MutationObserver(() => { covered ||= !at('cover').hidden; })"
            ".observe(at('cover'), { attributes: true })"
        )
        chromium.run("document.querySelector('#example').click()")
        chromium.wait_for("!document.querySelector('#save').hidden")
        assert chromium.run("document.querySelector('#status').textContent").startswith(
            "the example: 1 person, "
        )
        sandbox = chromium.run("document.querySelector('iframe').getAttribute('sandbox')")
        assert sandbox == "allow-scripts"
        for _ in range(60):  # until the frame has drawn the photograph, which is of greys
            stage = chromium.screenshot()[:, 260:720]
            if stage.std() > 40:
                break
        assert stage.std() > 40, chromium.problems
        assert [each for each in chromium.problems if not each.startswith(address)] == []
        assert chromium.run("covered") is True  # while it was computed
        file = tmp_path / "<b>name<b>.png"
        file.write_text("<img src=x>")
        drop(chromium, file, x=500, y=250)  # on the body
        chromium.wait_for("document.querySelector('#status.wrong') !== null && !busy")
        failed = "document.querySelector('#failed:not([hidden])')"
        said = chromium.run(f"{failed}.textContent")
        assert said.startswith(f"No body of {file.name}: ")
        assert "not an image in a format that is read" in said
        assert chromium.run("document.querySelectorAll('#status *, #failed *').length") == 0
        assert chromium.run("document.querySelectorAll('iframe').length") == 0  # of the one before
        assert chromium.run("document.querySelector('#save').hidden") is True
        chromium.ask(
            "Emulation.setDeviceMetricsOverride",
            width=390,
            height=700,
            deviceScaleFactor=1,
            mobile=True,
        )
        assert chromium.run("document.documentElement.scrollWidth") == 390


def drop(chromium: Page, file: Path, *, x: int, y: int) -> None:
    """Drags a file over the frame of a result, which lets the page around it have it."""
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}

    def drag(kind: str) -> None:
        chromium.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    chromium.run("entered = false; addEventListener('dragenter', () => { entered = true; })")
    for _ in range(100):  # browsers say it again when what is below the pointer changes
        drag("dragEnter")
        if chromium.run("entered"):
            break
    drag("dragOver")
    drag("drop")
