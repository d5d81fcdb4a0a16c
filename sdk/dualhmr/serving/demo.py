"""The page of `dualhmr demo`, and what it lets its user choose for a photograph."""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.detection import NamedDetector
from dualhmr.example import PHOTOGRAPH
from dualhmr.recoverer import FailedPhoto, Recoverer
from dualhmr.recoverer.streaming import Results
from dualhmr.rendering.page import allowed, filled
from dualhmr.serving.service import BodyService, RequestError

CHOSEN = ("schedule", "max_steps", "detector")
"""Parameters of an address that `Choices` reads."""
MOST_STEPS = 50
_PAGE = Path(__file__).parents[1] / "assets" / "demo" / "page.html"


@dataclass(frozen=True)
class Choices:
    """The names that clients may choose among. The first ones are the defaults."""

    schedules: tuple[str, ...]
    detectors: Mapping[str, NamedDetector]

    def read(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Arguments of `Recoverer.recover`. Raises `RequestError` for what is no choice."""
        detector = _one_of("detector", parameters, tuple(self.detectors))
        steps = parameters.get("max_steps") or None
        return {
            "schedule": _one_of("schedule", parameters, self.schedules),
            "max_steps": None if steps is None else _steps(steps),
            "detector": self.detectors[detector],
        }


def schedules_of(recoverer: Recoverer) -> tuple[str, ...]:
    """The names of the schedules that it can follow, the bundle's first."""
    default = recoverer.bundle.manifest.schedule.name
    if recoverer.adaptation not in ("numba", "torch"):  # graphs follow one schedule
        return (default,)
    return (default, *(name for name in SCHEDULE_NAMES if name != default))


class ChoosingService(BodyService):
    """One photograph after the other on all threads, each as its client chose."""

    def _recoveries(self, **_: Any) -> Results:
        for index, read in enumerate(self._requests()):
            how = dict(self._in_stream[-1].how)
            try:
                photo = read()
                if photo.keypoints is not None:
                    how.pop("detector", None)
                yield self.recoverer.recover(
                    photo.image,
                    photo.keypoints,
                    keypoint_set=photo.keypoint_set,
                    focal_length=photo.focal_length,
                    **how,
                )
            except Exception as error:  # of any kind: one photograph never costs the rest
                yield FailedPhoto(index, error)


def demo_routes(choices: Choices) -> list[Route]:
    """`GET /`, the page, and `GET /example.png`, the example photograph."""
    text, policy = demo_page(choices)
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }

    def page(_: Request) -> Response:
        return Response(text, headers=headers, media_type="text/html")

    def photograph(_: Request) -> Response:
        return FileResponse(PHOTOGRAPH, media_type="image/png")

    return [Route("/", page), Route("/example.png", photograph)]


def demo_page(choices: Choices) -> tuple[str, str]:
    """The page, and its content security policy.

    The page shows results in a frame that has their text, and such a frame obeys the policy of the
    page around it too. So it also allows the style and the scripts of results.
    """
    template = _PAGE.read_text(encoding="utf-8")
    style, script = (
        re.findall(rf"<{each}>(.*?)</{each}>", template, re.DOTALL) for each in ("style", "script")
    )
    policy = (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
        + allowed(style, script)
    )
    parts = {
        "schedules": "".join(_options(choices.schedules)),
        "detectors": "".join(_options(choices.detectors)),
        "most_steps": str(MOST_STEPS),
    }
    return filled(template, parts), policy


def _options(names: Mapping[str, Any] | tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f"<option>{html.escape(name)}</option>"


def _one_of(what: str, parameters: Mapping[str, str], names: tuple[str, ...]) -> str:
    name = parameters.get(what, names[0])
    if name not in names:
        raise RequestError(400, f"unknown {what} {name[:80]!r}; known are {', '.join(names)}")
    return name


def _steps(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= MOST_STEPS):
        raise RequestError(400, f"max_steps is {text[:80]!r}, expected 0 to {MOST_STEPS}")
    return int(text)
