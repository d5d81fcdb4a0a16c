"""What TensorRT says while it works, kept so that errors can quote it.

TensorRT takes one logger per process, and ignores any other for as long as something lives that
was made with the first. So there is one for each library, which hands what it hears to whoever is
listening, and to `logging` at level DEBUG; it prints nothing.
"""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger(__name__)
_QUOTED = 6


class Messages(list[str]):
    """Warnings and errors, in order."""

    def quoted(self) -> str:
        """The last few, to end an error's text with."""
        return "; ".join(self[-_QUOTED:]) or "it gave no reason"


@contextmanager
def listening(module: Any) -> Iterator[Messages]:
    """Collects the warnings and errors of a library's module while the block runs."""
    messages = Messages()
    listeners = logger_of(module).listeners
    listeners.append(messages)
    try:
        yield messages
    finally:
        listeners[:] = [other for other in listeners if other is not messages]


@functools.cache
def logger_of(module: Any) -> Any:
    """The one logger of a library's module; an ILogger with a list of `listeners`."""
    severity = module.ILogger.Severity
    serious = (severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR)

    class Logger(module.ILogger):  # type: ignore[misc]  # whose base is known only here
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.listeners: list[Messages] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                _log.debug("%s: %s", severity, message)
                for listener in list(self.listeners):
                    listener.append(message)

    return Logger()
