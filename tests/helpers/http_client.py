"""A server in a thread of this process on a free port of localhost, and a plain client."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvicorn


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def plain(self) -> Any:
        """The JSON in the body."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


class Client(NamedTuple):
    port: int

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Sends one request. Header names are written with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, content)

    def form(self, path: str, **parts: bytes) -> Reply:
        """Posts a form."""
        body = b"".join(
            b'--X\r\nContent-Disposition: form-data; name="%b"; filename="../../%b"\r\n\r\n%b\r\n'
            % (name.encode(), name.encode(), content)
            for name, content in parts.items()
        )
        kind = "multipart/form-data; boundary=X"
        return self("POST", path, body + b"--X--\r\n", Content_Type=kind)


@contextmanager
def served(app: Any) -> Iterator[Client]:
    """Serves an ASGI application."""
    config = uvicorn.Config(app, "127.0.0.1", 0, log_config=None, ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
