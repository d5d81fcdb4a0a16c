"""What a client sent -> a `PhotoRequest`, within limits. Nothing of it becomes a path or code."""

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from dualhmr.keypoints import NAMED_SETS
from dualhmr.recovery import OVERLAY_COLORS
from dualhmr.serving.service import PhotoRequest, RequestError
from dualhmr.untrusted import parse_json

FORMATS = {
    "json": "application/json",
    "glb": "model/gltf-binary",
    "npz": "application/x-npz",
    "overlay": "image/png",
    "html": "text/html",
}
"""Answers by name, which `?format=` takes, and their types, which `Accept` does."""
_PARAMETERS = ("format", "color", "keypoint_set", "focal_length")
_MOST_PERSONS = 1000


def wanted_format(request: Request, *, others: tuple[str, ...] = ()) -> str:
    """One of `FORMATS`; JSON if the client does not care. Raises `RequestError`.

    So it does for parameters that are neither known here nor among the `others`.
    """
    unknown = [name for name in request.query_params if name not in _PARAMETERS + others]
    if unknown:
        known = ", ".join(_PARAMETERS + others)
        raise RequestError(400, f"unknown parameter {unknown[0][:80]!r}; known are {known}")
    name = request.query_params.get("format")
    if name is not None:
        if name not in FORMATS:
            raise RequestError(400, f"unknown format {name[:80]!r}; known are {', '.join(FORMATS)}")
        return name
    accepted = [
        each.split(";")[0].strip() for each in request.headers.get("accept", "*/*").split(",")
    ]
    for each in accepted:
        for name, kind in FORMATS.items():
            if each in (kind, "*/*", f"{kind.split('/')[0]}/*"):
                return name
    raise RequestError(406, f"answers are {', '.join(FORMATS.values())}")


def wanted_color(request: Request) -> str:
    """Of the overlay, one of `OVERLAY_COLORS`. Raises `RequestError`."""
    color = request.query_params.get("color", OVERLAY_COLORS[0])
    if color not in OVERLAY_COLORS:
        known = ", ".join(OVERLAY_COLORS)
        raise RequestError(400, f"unknown color {color[:80]!r}; known are {known}")
    return color


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body. Raises `RequestError` as soon as it is too long."""
    too_long = RequestError(413, f"the body has more than {max_bytes} bytes, which is the limit")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > max_bytes:
        raise too_long
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > max_bytes:
            raise too_long
        body += part
    return bytes(body)


async def photo_request(request: Request, body: bytes, *, max_pixels: int) -> PhotoRequest:
    """From a body that is an image file, or a form of `photo` and perhaps `keypoints` (JSON).

    Raises `RequestError`.
    """
    known: dict[str, Any] = {}
    if (names := request.query_params.get("keypoint_set")) is not None:
        if names not in NAMED_SETS:
            raise RequestError(
                400, f"unknown keypoint set {names[:80]!r}; known are {', '.join(NAMED_SETS)}"
            )
        known["keypoint_set"] = names
    if (pixels := request.query_params.get("focal_length")) is not None:
        try:
            known["focal_length"] = float(pixels)
        except ValueError as error:
            raise RequestError(400, f"focal_length is {pixels[:80]!r}, expected pixels") from error
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        body, keypoints = await _form(request, body)
        if keypoints is not None:
            known["keypoints"] = _keypoints(keypoints)
    elif kind in ("application/json", "text/plain", "text/html"):
        raise RequestError(
            415, f"the body is {kind}, expected an image file or multipart/form-data with photo"
        )
    if not body:
        raise RequestError(400, "there is no photograph: send an image file as the body")
    return PhotoRequest(body, known, max_pixels)


async def _form(request: Request, body: bytes) -> tuple[bytes, bytes | None]:
    async def parts() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    parser = MultiPartParser(
        request.headers, parts(), max_files=2, max_fields=2, max_part_size=len(body) + 1
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        reason = getattr(error, "message", None) or "it is damaged"
        raise RequestError(400, f"the form cannot be read: {reason}") from error
    try:
        found: dict[str, bytes] = {}
        for name, value in form.multi_items():
            if name not in ("photo", "keypoints") or name in found:
                raise RequestError(
                    400, f"the form has {name[:80]!r}, expected one photo and perhaps one keypoints"
                )
            found[name] = await value.read() if isinstance(value, UploadFile) else value.encode()
    finally:
        await form.close()
    return found.get("photo", b""), found.get("keypoints")


def _keypoints(text: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(P, K, 2) or (P, K, 3), or of one person without P; null is missing."""
    expected = "expected [[[x, y, confidence], ...], ...] in JSON, a list of points a person"
    try:
        plain = parse_json(text)
        array = np.array(plain if isinstance(plain, list) else None, np.float64)
    except (ValueError, TypeError) as error:
        raise RequestError(400, f"keypoints are not numbers: {expected}") from error
    if array.ndim not in (2, 3) or len(array) > _MOST_PERSONS:
        raise RequestError(400, f"keypoints have shape {array.shape}, {expected}")
    return array
