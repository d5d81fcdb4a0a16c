"""The HTTP server: answers, refusals, limits, and requests of many at once."""

import io
import json
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import trimesh
from helpers.http_client import Client, served
from PIL import Image

from dualhmr import Recoverer
from dualhmr.example import example
from dualhmr.recoverer import FailedPhoto
from dualhmr.rendering.distance_colours import distance_scale
from dualhmr.serving.app import Limits, make_app
from dualhmr.serving.service import BodyService

POST = ("POST", "/recover")


def picture(kind: str = "PNG", width: int = 200) -> bytes:
    """The example, smaller."""
    file = io.BytesIO()
    Image.fromarray(example()[0]).resize((width, 200)).save(file, kind)
    return file.getvalue()


def points() -> list[Any]:
    """Of the smaller example, one person."""
    given = example()[1]
    xy = given.xy[0] * 200 / 512
    return np.concatenate([xy, given.confidence[0][:, None]], axis=1).tolist()


@pytest.fixture(scope="module")
def recoverer() -> Recoverer:
    return Recoverer(adaptation="onnx")


@pytest.fixture(scope="module")
def client(recoverer: Recoverer) -> Iterator[Client]:
    limits = Limits(max_bytes=400_000, max_pixels=100_000)
    with served(make_app(BodyService(recoverer), limits)) as client:
        yield client


def test_json_has_what_python_returns(client: Client, recoverer: Recoverer) -> None:
    expected = recoverer.recover(picture())
    reply = client(*POST, picture())
    assert reply.status == 200
    (person,) = reply.plain["persons"]
    for name in ("joints", "betas", "translation", "body_pose"):
        array = getattr(expected, name)[0]
        np.testing.assert_allclose(person[name], array, atol=1e-4, err_msg=name)
    assert np.shape(person["keypoints_2d"]) == (len(reply.plain["keypoint_names"]), 2)
    assert reply.plain["image"] == {"width": 200, "height": 200}


def test_keypoints_and_other_formats(client: Client, recoverer: Recoverer) -> None:
    expected = recoverer.recover(picture(), np.array(points()))
    parts = {"photo": picture("JPEG"), "keypoints": json.dumps([points()]).encode()}
    npz = client.form("/recover?format=npz&keypoint_set=coco_17", **parts)
    assert npz.status == 200
    with np.load(io.BytesIO(npz.body)) as arrays:
        np.testing.assert_allclose(arrays["joints"], expected.joints, atol=0.02)
    glb = client(*POST, picture(), Accept="model/gltf-binary;q=0.9, application/json;q=0.1")
    assert glb.headers["content-type"] == "model/gltf-binary"
    scene = trimesh.load(io.BytesIO(glb.body), file_type="glb")
    assert [len(mesh.vertices) for mesh in scene.geometry.values()] == [expected.vertices.shape[1]]
    overlay = client(*POST, picture(), Accept="image/*")
    assert Image.open(io.BytesIO(overlay.body)).height == 200
    coloured = client("POST", "/recover?format=overlay&color=uncertainty", picture())
    scale = Image.open(io.BytesIO(coloured.body)).width - Image.open(io.BytesIO(overlay.body)).width
    assert scale == distance_scale(200).shape[1]


ZIP = io.BytesIO()
zipfile.ZipFile(ZIP, "w").close()
TOO_LARGE, ANIMAL = b"\xff\xd8\xff" + bytes(500_000), b"a photograph of a giraffe"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "message"),
    [
        ("/recover", b"", {}, 400, "there is no photograph"),
        ("/recover", ANIMAL, {}, 415, "not an image in a format that is read"),
        ("/recover", ZIP.getvalue(), {}, 415, "not an image in a format that is read"),
        ("/recover", b"%!PS-Adobe showpage" + bytes(99), {}, 415, "it is PostScript"),
        ("/recover", picture()[:2000], {}, 400, "damaged or cut short"),
        ("/recover", TOO_LARGE, {}, 413, "more than 400000 bytes"),
        ("/recover", picture(width=501), {}, 413, "501x200 are 100200 pixels"),
        ("/recover?format=fbx", b"x", {}, 400, "unknown format 'fbx'; known are json"),
        ("/recover?color=red", b"x", {}, 400, "unknown color 'red'; known are person"),
        ("/recover?file=/etc/passwd", b"x", {}, 400, "unknown parameter 'file'"),
        ("/recover?keypoint_set=face", b"x", {}, 400, "unknown keypoint set 'face'"),
        ("/recover?focal_length=long", b"x", {}, 400, "focal_length is 'long'"),
        ("/recover?focal_length=nan", picture(), {}, 422, "not finite"),
        ("/recover?focal_length=1", picture(), {}, 422, "focal"),
        ("/recover", b"x", {"Accept": "application/pdf"}, 406, "answers are application/json"),
        ("/recover", b"{}", {"Content_Type": "application/json"}, 415, "expected an image file"),
        ("/recover", b"x", {"Content_Type": "multipart/form-data"}, 400, "form cannot be read"),
        ("/absent", b"x", {}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_used_is_refused_in_json(
    client: Client, path: str, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    reply = client("POST", path, body, **headers)
    assert message in reply.plain["error"]
    assert reply.status == status
    assert client("GET", "/health").plain == {"status": "ok"}


@pytest.mark.parametrize(
    ("keypoints", "status", "message"),
    [
        ("[[1, 2, 3]", 400, "keypoints are not numbers"),
        ('"/etc/passwd"', 400, "keypoints have shape"),
        ("[[[1, 2], [3]]]", 400, "keypoints are not numbers"),
        ("[" * 5000, 400, "keypoints are not numbers"),
        ("[1, 2, 3]", 400, "keypoints have shape (3,)"),
        ("[[[1, 2, 3], [4, 5, 6]]]", 422, "2"),
        ("[[[1e999, 2, 3]]]", 422, ""),
    ],
)
def test_keypoints_that_cannot_be_used(
    client: Client, keypoints: str, status: int, message: str
) -> None:
    reply = client.form("/recover", photo=picture(), keypoints=keypoints.encode())
    assert message in reply.plain["error"]
    assert reply.status == status


def test_forms_have_a_photograph_and_nothing_else(client: Client) -> None:
    assert client.form("/recover", keypoints=b"[]").status == 400
    other = client.form("/recover", photo=picture(), bundle=b"/etc")
    assert other.status == 400
    assert "'bundle'" in other.plain["error"]
    assert client("GET", "/recover").status == 405


def test_many_clients_at_once_get_their_own_answers(client: Client) -> None:
    widths = [160, 170, 180, 190, 200, 210]
    before = client("GET", "/info").plain["requests"]["photographs"]
    with ThreadPoolExecutor(len(widths)) as pool:
        replies = list(pool.map(lambda width: client(*POST, picture(width=width)), widths))
    assert [reply.plain["image"]["width"] for reply in replies] == widths
    info = client("GET", "/info").plain
    assert info["requests"]["photographs"] == before + len(widths)
    assert info["requests"]["most_together"] >= 2
    assert info["engine"].startswith("onnxruntime")


class SlowRecoverer:
    """Its stream waits for the gate before each photograph, which then fails."""

    def __init__(self) -> None:
        self.gate, self.broken = threading.Semaphore(0), False

    def stream(self, items: Any, **_: Any) -> Iterator[FailedPhoto]:
        for index, _item in enumerate(items):
            assert self.gate.acquire(timeout=20)
            if self.broken:
                raise KeyError("a path of this machine")
            yield FailedPhoto(index, ValueError(f"photograph {index}"))


def test_a_full_queue_and_a_slow_answer() -> None:
    recoverer = SlowRecoverer()
    app = make_app(BodyService(recoverer), Limits(queue=2, timeout_s=0.4))  # type: ignore[arg-type]
    with served(app) as client, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client, *POST, picture()) for _ in range(2)]
        while (full := client(*POST, picture())).status != 503:
            pass
        assert full.headers["retry-after"] == "2"
        assert "2 requests are being answered" in full.plain["error"]
        for reply in waiting:
            assert reply.result().status == 504
            assert "no answer within 0.4 s" in reply.result().plain["error"]
        # Nobody waits for the two any more; the next one is answered.
        recoverer.gate.release(3)
        assert client(*POST, picture()).plain == {"error": "photograph 2"}


def test_a_stream_that_breaks_is_not_healthy_and_tells_no_secrets() -> None:
    recoverer = SlowRecoverer()
    recoverer.broken = True
    recoverer.gate.release(9)
    app = make_app(BodyService(recoverer), Limits())  # type: ignore[arg-type]
    with served(app) as client:
        for _ in range(2):
            reply = client(*POST, picture())
            assert reply.status == 500
            assert reply.plain == {"error": "the server failed; its log says why"}
        assert client("GET", "/health").status == 503


PROGRAM = """
from argparse import ArgumentParser
from dualhmr.cli import serve
parser = ArgumentParser()
serve.add_arguments(parser)
raise SystemExit(serve.run(parser.parse_args()))
"""


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--adaptation", "onnx"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        assert found, said
        client = Client(int(found[1]))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client, *POST, picture())
            while client("GET", "/info").plain["requests"]["now"] == 0 and not answer.done():
                pass
            process.send_signal(signal.SIGTERM)
            assert answer.result().status == 200, "what has come is answered"
        rest = process.stderr.read()
        assert "Traceback" not in rest
        assert process.wait(30) in (0, -signal.SIGTERM)
