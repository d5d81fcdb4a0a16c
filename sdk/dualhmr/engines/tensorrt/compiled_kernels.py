"""Keeps what TensorRT for RTX compiles for a GPU when engines run (its "runtime cache").

Its engines hold no finished kernels: the first run on a GPU, and of every new batch size, compiles
them. Without this file every process would do so again.
"""

import hashlib
import logging
import weakref
from pathlib import Path
from typing import Any

from dualhmr.engines.tensorrt.checked_files import key_of, read_file, write_file

_SAVE_AFTER = (1, 10, 100)
"""Calls of an engine: kernels for a new shape are compiled beside the calls, not before them."""
_log = logging.getLogger(__name__)


class CompiledKernels:
    """The compiled kernels of one engine, in a file of `folder`."""

    def __init__(self, folder: Path, engine_name: str, content: bytes, *, gpu_name: str) -> None:
        """`content`: the engine. `folder` may not be writable; then nothing is kept."""
        self._facts = {"engine": hashlib.sha256(content).hexdigest(), "gpu": gpu_name}
        self._path = folder / f"{engine_name}.{key_of(self._facts)}.kernels"
        self._cache: Any = None
        self._calls = 0

    def attach(self, config: Any) -> None:
        """Makes contexts of `config`, TensorRT's `IRuntimeConfig`, use and fill them."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            known = read_file(self._path, self._facts)
            # TensorRT refuses those of another driver, and compiles anew.
            if known and not self._cache.deserialize(known):
                _log.info("%s is not used: TensorRT refuses it", self._path)
            weakref.finalize(self, _save, self._cache, self._path, self._facts)
        config.set_runtime_cache(self._cache)

    def count_call(self) -> None:
        """Says that the engine has run once more."""
        self._calls += 1
        if self._cache is not None and self._calls in _SAVE_AFTER:
            _save(self._cache, self._path, self._facts)


def _save(cache: Any, path: Path, facts: dict[str, str]) -> None:
    content = bytes(cache.serialize() or b"")
    if not content or content == read_file(path, facts):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, facts, content)
    except OSError as error:
        _log.info("compiled kernels are not kept: %s", error)
