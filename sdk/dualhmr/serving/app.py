"""The server's addresses: `POST /recover`, `GET /health`, `GET /info`."""

import asyncio
import io
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dualhmr import __version__
from dualhmr.outputs import describe_people, to_json
from dualhmr.serving.demo import CHOSEN, Choices, demo_routes
from dualhmr.serving.received import FORMATS, photo_request, read_body, wanted_color, wanted_format
from dualhmr.serving.service import Answer, BodyService, RequestError

_log = logging.getLogger("dualhmr")
_ARRAYS = (
    "joints",
    "keypoints_2d",
    "global_orient",
    "body_pose",
    "betas",
    "translation",
    "focal_length",
    "principal_point",
)
"""Of a `Recovery`, what JSON has of each person."""


@dataclass(frozen=True)
class Limits:
    """Of what clients may ask for."""

    max_bytes: int = 20 * 2**20
    """Of a body."""
    max_pixels: int = 50_000_000
    """Of a photograph."""
    queue: int = 32
    """Requests at once, from the first byte to the last; more are asked to come again."""
    timeout_s: float = 60.0
    """From the first byte to the answer."""
    retry_after_s: int = 2

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} is {value}, expected more than 0")


def make_app(service: BodyService, limits: Limits, *, choices: Choices | None = None) -> Starlette:
    """An ASGI application, which closes the service when it stops.

    With `choices`, for a `ChoosingService`, also the page of `dualhmr demo`.
    """
    server = _Server(service, limits, choices)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    return Starlette(
        routes=[
            Route("/recover", server.recover, methods=["POST"]),
            Route("/health", server.health),
            Route("/info", server.info),
            *([] if choices is None else demo_routes(choices)),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _internal_error},
        lifespan=lifespan,
    )


class _Server:
    def __init__(self, service: BodyService, limits: Limits, choices: Choices | None) -> None:
        self._service, self._limits, self._choices = service, limits, choices
        self._inside = 0

    async def recover(self, request: Request) -> Response:
        limits = self._limits
        if self._inside >= limits.queue:
            return _error(
                503,
                f"{limits.queue} requests are being answered; try again",
                {"retry-after": str(limits.retry_after_s)},
            )
        self._inside += 1
        try:
            return await asyncio.wait_for(self._recover(request), limits.timeout_s)
        except RequestError as refusal:
            return _error(refusal.status, str(refusal))
        except (TimeoutError, asyncio.TimeoutError):
            return _error(504, f"there was no answer within {limits.timeout_s:g} s")
        finally:
            self._inside -= 1

    async def _recover(self, request: Request) -> Response:
        choices = self._choices
        form = wanted_format(request, others=() if choices is None else CHOSEN)
        color = wanted_color(request)
        how = {} if choices is None else choices.read(request.query_params)
        body = await read_body(request, self._limits.max_bytes)
        sent = await photo_request(request, body, max_pixels=self._limits.max_pixels)
        sent.how = how
        answer = await asyncio.wrap_future(self._service.submit(sent))
        content = await run_in_threadpool(_content, answer, form, color)
        headers = {"x-persons": str(len(answer.recovery)), "x-content-type-options": "nosniff"}
        if form == "html":  # opened from here, its scripts are of no origin
            headers["content-security-policy"] = "sandbox allow-scripts"
        return Response(content, headers=headers, media_type=FORMATS[form])

    async def health(self, _: Request) -> Response:
        if self._service.is_alive:
            return _json({"status": "ok"})
        return _error(503, "the service has stopped; start it again")

    async def info(self, _: Request) -> Response:
        service, recoverer = self._service, self._service.recoverer
        return _json(
            {
                "version": __version__,
                "bundle": recoverer.bundle.manifest.name,
                "body": recoverer.body.name,
                "engine": recoverer.engine,
                "adaptation": recoverer.adaptation,
                "formats": list(FORMATS),
                "limits": asdict(self._limits),
                "requests": {
                    "now": self._inside,
                    "photographs": service.recovered,
                    "most_together": service.most_together,
                },
            }
        )


def _content(answer: Answer, form: str, color: str) -> bytes:
    """The answer's body, in one of `FORMATS`."""
    recovery, image = answer
    if form == "json":
        return to_json(_described(answer)).encode()
    if form == "html":
        return recovery.page(image.pixels).encode()
    if form == "overlay":
        picture = io.BytesIO()
        drawn = recovery.overlay(image.pixels, keypoints=True, color=color)
        Image.fromarray(drawn).save(picture, "PNG")
        return picture.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"bodies.{form}"
        recovery.save(path)
        return path.read_bytes()


def _described(answer: Answer) -> dict[str, Any]:
    recovery, image = answer
    described = describe_people(recovery)
    for index, person in enumerate(described["persons"]):
        person |= {name: getattr(recovery, name)[index].tolist() for name in _ARRAYS}
    height, width = image.pixels.shape[:2]
    return {
        "image": {"width": width, "height": height},
        "keypoint_names": list(recovery.keypoints.set.names),
        **described,
        "notes": list(image.notes),
    }


def _json(plain: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(plain), status, headers, media_type="application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": message}, status, headers)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, dict(error.headers or {}))


async def _internal_error(request: Request, error: Exception) -> Response:
    """Without the message, which may have paths of this machine; the log has it."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, "the server failed; its log says why")
