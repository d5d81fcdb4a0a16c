"""A page in headless Chromium, driven over a pipe by the DevTools protocol: no driver, no port."""

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    # WebGL on a CPU.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)


class Page:
    """One tab."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._number, self._rest = commands, answers, 0, b""
        self._session: str | None = None
        self.problems: list[str] = []
        """Errors and warnings of the console, exceptions, and requests other than of files and
        data."""

    def ask(self, method: str, seconds: float = 60, **parameters: Any) -> dict[str, Any]:
        """The result of one command of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            assert ready, "Chromium does not answer"
            more = os.read(self._answers, 1 << 20)
            assert more, "Chromium has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.problems.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            self.problems.append(str(said["args"]))
        elif method == "Network.requestWillBeSent":
            url = said["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self.problems.append(url)

    def open(self, page: Path | str, *, width: int = 900, height: int = 600) -> None:
        """Attaches to a tab and opens a file or an address in it."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **screen)
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self.ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression in JavaScript."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, f"not true in time: {script}; {self.problems}"
            time.sleep(0.05)

    def screenshot(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        answer = self.ask("Page.captureScreenshot", format="png")
        with Image.open(io.BytesIO(base64.b64decode(answer["data"]))) as picture:
            return np.array(picture.convert("RGB"))


def _as_3_and_4(ends: list[int]) -> None:
    os.dup2(ends[0], 3)
    os.dup2(ends[1], 4)


@contextlib.contextmanager
def chromium_page(profile: Path) -> Iterator[Page]:
    """Starts Chromium with an empty folder `profile`, and ends it."""
    assert CHROMIUM is not None
    here_reads, it_writes = os.pipe()
    it_reads, here_writes = os.pipe()
    # Above 3 and 4, which Chromium reads and writes: the copies below must not hit each other.
    ends = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (it_reads, it_writes)]
    log = (profile.parent / "chromium.log").open("wb")
    process = subprocess.Popen(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"],
        stdout=log,
        stderr=log,
        start_new_session=True,
        close_fds=True,
        pass_fds=(3, 4),
        preexec_fn=lambda: _as_3_and_4(ends),
    )
    for each in (it_reads, it_writes, *ends):
        os.close(each)
    try:
        yield Page(here_writes, here_reads)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()
        for each in (here_writes, here_reads):
            os.close(each)
