"""Where built engines are kept, and how two processes share them."""

import atexit
import functools
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock  # comes with PyTorch

CACHE_VARIABLE = "DUALHMR_CACHE"
ENGINES = "engines"
_STEPS_BACK = 5  # to whoever called cached_engine


def user_cache() -> Path:
    """The user's cache folder: $DUALHMR_CACHE, or `dualhmr` where the platform keeps caches.

    Raises RuntimeError where the user has no home.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "dualhmr"
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "dualhmr"
    return Path.home() / ".cache" / "dualhmr"


def engine_folders(onnx_path: Path, cache_folder: Path | None = None) -> tuple[Path, ...]:
    """Folders to look for the engine of an ONNX file in, in order; the last is written to.

    The first lies beside the file, where export puts engines that it built. `cache_folder` takes
    the place of the user's.
    """
    beside = onnx_path.parent / ENGINES
    if cache_folder is not None:
        return beside, cache_folder
    try:
        return beside, user_cache() / ENGINES
    except RuntimeError:
        return beside, _temporary_folder()


@contextmanager
def locked_folder(folder: Path, name: str) -> Iterator[Path | None]:
    """Lends a folder to write in, while no other process has it under this `name`.

    That is `folder`, made if need be; where it cannot be written a temporary one, with a warning;
    None if there is no room for that either.
    """
    with ExitStack() as stack:
        yield _lock_first((folder, None), name, stack)


def _lock_first(folders: Sequence[Path | None], name: str, stack: ExitStack) -> Path | None:
    for folder in folders:
        try:
            candidate = _temporary_folder() if folder is None else folder
            candidate.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(candidate / f"{name}.lock"))
        except (OSError, NotImplementedError) as error:  # the latter: no locks in that file system
            if folder is not None:
                warnings.warn(
                    f"built engines cannot be kept in {folder} ({error}), and will be built again "
                    f"by every process; set {CACHE_VARIABLE} to a folder that can be written",
                    stacklevel=_STEPS_BACK,
                )
            continue
        return candidate
    return None


@functools.cache
def _temporary_folder() -> Path:
    """This process's own, nobody else may enter it: whoever can write engines can run code."""
    folder = Path(tempfile.mkdtemp(prefix="dualhmr-engines-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
