"""Requests of many clients through one endless `Recoverer.stream`."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from dualhmr.detection import AnyDetector
from dualhmr.image_files import ImageFormatError, ImageSizeError
from dualhmr.images import LoadedImage, read_image
from dualhmr.recoverer import FailedPhoto, Photo, Recoverer
from dualhmr.recoverer.streaming import Results
from dualhmr.recovery import Recovery

_log = logging.getLogger("dualhmr")


class RequestError(ValueError):
    """What a client sent cannot be used; `status` is HTTP's for the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """What became of one photograph."""

    recovery: Recovery
    image: LoadedImage


@dataclass(eq=False)
class PhotoRequest:
    """One photograph that a client sent, and what it said of it."""

    file: bytes
    """Of an image file."""
    known: dict[str, Any] = field(default_factory=dict)
    """Fields of `Photo`: keypoints, their set, the focal length."""
    max_pixels: int | None = None
    how: dict[str, Any] = field(default_factory=dict)
    """Arguments of `Recoverer.recover` for this one, which the demo alone lets clients choose."""
    answer: "Future[Answer]" = field(default_factory=Future)
    _image: LoadedImage | None = None

    def photo(self) -> Photo:
        """Decodes it; called by a thread of the stream. Raises `RequestError`."""
        if self.answer.cancelled():
            raise RequestError(504, "nobody waits for the answer any more")
        try:
            self._image = read_image(self.file, max_pixels=self.max_pixels)
        except (ImageFormatError, ImportError) as error:
            raise RequestError(415, str(error)) from error
        except ImageSizeError as error:
            raise RequestError(413, str(error)) from error
        except ValueError as error:
            raise RequestError(400, str(error)) from error
        self.file = b""
        return Photo(self._image.pixels, **self.known)

    def finish(self, result: Recovery | FailedPhoto) -> None:
        """Answers, unless nobody waits."""
        if not self.answer.set_running_or_notify_cancel():
            return
        if isinstance(result, FailedPhoto):
            self.answer.set_exception(_refusal(result.error))
        else:
            assert self._image is not None
            self.answer.set_result(Answer(result, self._image))


def _refusal(error: Exception) -> Exception:
    """What `Recoverer.recover` raises because of its arguments is the client's to know."""
    if isinstance(error, ValueError | TypeError) and not isinstance(error, RequestError):
        return RequestError(422, str(error))
    return error


class BodyService:
    """Answers requests in the order in which they came, as many at once as the machine can.

    There is no fixed batch and nothing to wait for: on a CPU each core takes the next photograph,
    on a GPU the people of all photographs that came while the last group was computed are the next.
    """

    def __init__(
        self,
        recoverer: Recoverer,
        *,
        detector: AnyDetector | None = None,
        schedule: str | None = None,
        max_steps: int | None = None,
        iterate: str | None = None,
    ) -> None:
        """Starts; the arguments are those of `Recoverer.stream`, which raises for wrong ones."""
        self.recoverer = recoverer
        self.recovered = 0
        """Photographs that were recovered or refused so far."""
        self.most_together = 0
        """Most photographs that were in the stream at once."""
        self._waiting: SimpleQueue[PhotoRequest | None] = SimpleQueue()
        self._in_stream = deque[PhotoRequest]()
        self._results = self._recoveries(
            detector=detector, schedule=schedule, max_steps=max_steps, iterate=iterate
        )
        self._thread = Thread(target=self._run, name="dualhmr-serve", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests will be answered."""
        return self._thread.is_alive()

    def submit(self, request: PhotoRequest) -> "Future[Answer]":
        """Puts it at the end of the queue. The answer raises `RequestError` and engines' errors.

        Cancelling the answer takes it out of the queue where it has not begun.
        """
        self._waiting.put(request)
        if not self.is_alive:
            self._fail_all(RuntimeError("the service has stopped"))
        return request.answer

    def close(self) -> None:
        """Answers what is in the queue, and stops."""
        self._waiting.put(None)
        self._thread.join()

    def _recoveries(self, **how: Any) -> Results:
        return self.recoverer.stream(self._requests(), **how)

    def _requests(self) -> Iterator[Any]:
        while (request := self._waiting.get()) is not None:
            self._in_stream.append(request)
            self.most_together = max(self.most_together, len(self._in_stream))
            yield request.photo

    def _run(self) -> None:
        try:
            for result in self._results:
                self._in_stream.popleft().finish(result)
                self.recovered += 1
        except BaseException as error:  # of the stream itself: nothing works any more
            _log.exception("the service has stopped")
            self._fail_all(error)

    def _fail_all(self, error: BaseException) -> None:
        while not self._waiting.empty():
            request = self._waiting.get()
            if request is not None:
                self._in_stream.append(request)
        while self._in_stream:
            answer = self._in_stream.popleft().answer
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
