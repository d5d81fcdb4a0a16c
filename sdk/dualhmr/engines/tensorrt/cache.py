"""Keeps built engines, under a key of everything that they depend on.

An engine is a plain file, NAME.CAPABILITY.KEY.engine, with its facts beside it (`checked_files`).
TensorRT runs an engine without checking it, so its hash is checked first: it finds truncated files,
not malice. An engine is as trustworthy as the folder that it lies in.
"""

import atexit
import functools
import glob
import hashlib
import logging
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dualhmr.engines.tensorrt.build import (
    BuiltEngine,
    batch_profiles,
    build_engine,
    check_target,
)
from dualhmr.engines.tensorrt.checked_files import (
    differences,
    key_of,
    read_file,
    read_record,
    write_file,
)
from dualhmr.engines.tensorrt.library import Gpu, Library, find_gpu, load_library
from dualhmr.files import sha256

try:
    import platformdirs
    from filelock import FileLock
except ImportError as error:
    raise ImportError(
        f"TensorRT engines need a package ({error}): pip install filelock platformdirs"
    ) from error

CACHE_VARIABLE = "DUALHMR_CACHE"
ENGINES = "engines"
_BUILDER = "3"  # to be raised when `build_engine` changes what it builds
_log = logging.getLogger(__name__)


def engine_facts(
    onnx: bytes,
    *,
    library: Library,
    max_batch: int,
    capability: str,
    gpu_name: str,
    tf32: bool = False,
    weights: Path | None = None,
) -> dict[str, str]:
    """Everything that an engine depends on. Engines with equal facts are interchangeable.

    `weights`: the file of those weights that are not in `onnx`.

    TensorRT tunes an engine for one model of GPU and one operating system; an engine of TensorRT
    for RTX runs on all machines with GPUs of that compute capability.
    """
    machine = f"{sys.platform} {platform.machine().lower()} {gpu_name}"
    return {
        **({"weights_sha256": sha256(weights)} if weights else {}),
        "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
        "profile": ",".join("-".join(map(str, sizes)) for sizes in batch_profiles(max_batch)),
        "tf32": "on" if tf32 else "off",
        "library": library.name,
        "library_version": library.version,
        "cuda_version": library.cuda_version,
        "capability": capability,
        "machine": "any" if library.builds_for_others else machine,
        "builder": _BUILDER,
    }


def engine_folders(onnx_path: Path, cache_folder: Path | None = None) -> tuple[Path, Path]:
    """The folders that may hold the engine of an ONNX file; new engines go into the second.

    The first is `engines` beside the file, where export puts the engines of a bundle. The second is
    `cache_folder`, or for None the user's: $DUALHMR_CACHE, or where the platform keeps caches.
    """
    return onnx_path.parent / ENGINES, cache_folder or _user_cache() / ENGINES


def _user_cache() -> Path:
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    folder = platformdirs.user_cache_path("dualhmr", appauthor=False, opinion=False)
    if not folder.is_absolute():  # "~/.cache", for a user without a home, as in some containers
        return _temporary_folder() or folder
    return folder


@functools.cache
def _temporary_folder() -> Path | None:
    """A folder of this process, which no other user can write in; None where there is no room."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="dualhmr-engines-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class _Engine:
    """An engine that is needed: what it is built from and for."""

    onnx_path: Path
    onnx: bytes
    library: Library
    max_batch: int
    tf32: bool
    facts: dict[str, str]

    @classmethod
    def of(
        cls, onnx_path: Path, *, library: Library, max_batch: int, tf32: bool = False, **gpu: str
    ) -> "_Engine":
        onnx, weights = onnx_path.read_bytes(), onnx_path.with_name(f"{onnx_path.name}.data")
        facts = engine_facts(
            onnx,
            library=library,
            max_batch=max_batch,
            tf32=tf32,
            weights=weights if weights.is_file() else None,
            **gpu,
        )
        return cls(onnx_path, onnx, library, max_batch, tf32, facts)

    @property
    def name(self) -> str:
        """As "backbone.sm86.0123456789abcdef.engine"."""
        return f"{self.onnx_path.stem}.{self.facts['capability']}.{key_of(self.facts)}.engine"

    def build(self, timing_cache: bytes | None = None) -> BuiltEngine:
        return build_engine(
            self.onnx,
            max_batch=self.max_batch,
            library=self.library,
            path=self.onnx_path.absolute(),
            target=self.facts["capability"] if self.library.builds_for_others else None,
            timing_cache=timing_cache,
            metadata={"file": self.onnx_path.name, **self.facts},
            tf32=self.tf32,
        )

    def log_others(self, folder: Path) -> None:
        """Logs why other engines of the same graph do not fit."""
        for path in sorted(folder.glob(f"{glob.escape(self.onnx_path.stem)}.*.engine")):
            facts = read_record(path)["facts"]
            if path.name != self.name and facts.get("onnx_sha256") == self.facts["onnx_sha256"]:
                others = differences(facts, self.facts)
                _log.info("%s is not used: it was made with %s", path, others)


def cached_engine(
    onnx_path: Path,
    *,
    library: Library,
    max_batch: int,
    capability: str,
    gpu_name: str,
    folders: Sequence[Path],
    tf32: bool = False,
) -> tuple[bytes, Path | None]:
    """The engine of an ONNX file, from one of `folders` or newly built, and the file that holds it.

    `folders`: see `engine_folders`. `capability` and `gpu_name`: of the GPU that will run it, which
    has to be the current one unless `library` builds for others. Of several processes that need the
    same engine, one builds it and the others wait. Where an engine cannot be written, there is a
    warning, and no file: None.

    Raises FileNotFoundError without the ONNX file, and what `build_engine` raises.
    """
    needed = _Engine.of(
        onnx_path,
        library=library,
        max_batch=max_batch,
        tf32=tf32,
        capability=capability,
        gpu_name=gpu_name,
    )
    for folder in folders:
        if (engine := read_file(folder / needed.name, needed.facts)) is not None:
            return engine, folder / needed.name
        needed.log_others(folder)
    own: Path | None = folders[-1]
    with ExitStack() as stack:
        try:
            folders[-1].mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folders[-1] / f"{needed.name}.lock"))
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            warnings.warn(
                f"built engines cannot be kept in {folders[-1]} ({error}), and every process will "
                f"build them again; set {CACHE_VARIABLE} to a folder that can be written",
                stacklevel=2,
            )
            own = _temporary_folder()
        if own is None:
            return needed.build().engine, None
        path = own / needed.name
        if (engine := read_file(path, needed.facts)) is not None:
            return engine, path  # built by another process, while this one waited for the lock
        _log.info("%s: building the engine for %s, once", onnx_path, capability)
        return _build_and_keep(needed, path)


def _build_and_keep(needed: _Engine, path: Path) -> tuple[bytes, Path | None]:
    # Timings of kernels do not depend on the graph: other engines for the same GPU reuse them.
    own = {"onnx_sha256", "weights_sha256", "profile"}
    shared = {name: value for name, value in needed.facts.items() if name not in own}
    timings = path.with_name(f"timings.{shared['capability']}.{key_of(shared)}")
    times_kernels = needed.library.times_kernels
    engine, timing_cache = needed.build(read_file(timings, shared) if times_kernels else None)
    try:
        write_file(path, needed.facts, engine)
        if timing_cache is not None:
            write_file(timings, shared, timing_cache)
    except OSError as error:
        warnings.warn(
            f"{path.name} could not be kept in {path.parent} ({error}); the engine is used from "
            "memory, and the next process builds it again",
            stacklevel=3,
        )
        return engine, None
    return engine, path


def check_buildable(library: Library, target: str | None) -> Gpu | None:
    """This machine's GPU for a target of None; raises as `prebuild` where it cannot build."""
    check_target(library, target)
    gpu = find_gpu() if target is None else None
    if target is None and gpu is None:
        raise RuntimeError(
            "there is no GPU here to build an engine for; name a compute capability to build for, "
            "such as sm86, which takes tensorrt-rtx"
        )
    return gpu


def prebuild(
    onnx_path: Path,
    folder: Path,
    *,
    max_batch: int,
    target: str | None = None,
    library: Library | None = None,
) -> Path:
    """Writes the engine of an ONNX file into `folder`, unless it is there, and returns its path.

    `cached_engine` finds it if the folder is called `engines` and lies beside the ONNX file, with
    the same TensorRT and `max_batch`. It fits all GPUs of the compute capability `target`, as
    "sm86"; for None, that of this machine's GPU, and with TensorRT proper only the same model.

    Raises ImportError without TensorRT, RuntimeError for a target of None without a GPU, OSError
    where the folder cannot be written, and what `build_engine` raises.
    """
    library = library or load_library()
    gpu = check_buildable(library, target)
    needed = _Engine.of(
        onnx_path,
        library=library,
        max_batch=max_batch,
        capability=gpu.capability if gpu else str(target),
        gpu_name=gpu.name if gpu else "",
    )
    path = folder / needed.name
    if read_file(path, needed.facts) is None:
        engine = needed.build().engine
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, needed.facts, engine)
    return path
