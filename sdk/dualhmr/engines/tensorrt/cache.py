"""Built engines are kept in files and found again by what they depend on."""

import atexit
import dataclasses
import functools
import glob
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from filelock import FileLock  # comes with PyTorch

from dualhmr.engines.tensorrt.build import BuiltEngine, Profile, Report, build_engine
from dualhmr.engines.tensorrt.library import Library, find_gpu, load_library
from dualhmr.files import atomic_path

AS_EXPORTED = "as exported"
_ANY = "any"
_BUILDER = "1"  # to be raised when our builder's settings change what it builds


@dataclass(frozen=True)
class EngineKey:
    """Every ingredient of an engine. Two engines with equal keys are interchangeable."""

    onnx_sha256: str
    """Of the ONNX file's content."""
    precision: str
    """A label: what the engine computes in is what the graph says, which `onnx_sha256` covers."""
    profile: str
    library: str
    library_version: str
    cuda_version: str
    capability: str
    """Compute capability, as "sm86"."""
    machine: str
    """System, processor and GPU; "any" for engines that run on every machine of `capability`."""
    builder: str = _BUILDER

    def facts(self) -> dict[str, str]:
        """The ingredients by name."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """A sha256 over all ingredients, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()


def engine_key(
    onnx: bytes,
    *,
    library: Library,
    profile: Profile,
    capability: str,
    gpu_name: str,
    precision: str = AS_EXPORTED,
) -> EngineKey:
    """The key of the engine that `library` builds from the content `onnx` of a file.

    TensorRT proper tunes an engine to one model of GPU under one system, so `gpu_name` matters;
    engines of TensorRT for RTX run wherever the compute capability is the same.
    """
    machine = f"{sys.platform} {platform.machine().lower()} {gpu_name}"
    return EngineKey(
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        precision=precision,
        profile=str(profile),
        library=library.name,
        library_version=library.version,
        cuda_version=library.cuda_version,
        capability=capability,
        machine=_ANY if library.builds_for_others else machine,
    )


def differences(found: Mapping[str, object], expected: Mapping[str, str]) -> str:
    """Where two keys differ, for people: "capability sm89 instead of sm86, ..."; "" if nowhere."""
    return ", ".join(
        f"{name} {found.get(name)} instead of {expected.get(name)}"
        for name in [*expected, *(name for name in found if name not in expected)]
        if found.get(name) != expected.get(name)
    )


# Files that hold a built engine, sealed with what it was made from and of.
#
# A file is a magic number, the length of a JSON header, the header and the payload. The header
# holds the facts that the payload depends on, as text by name, and the payload's sha256. TensorRT
# runs what it is given, so a file is checked in full before its payload is handed out. The hash
# finds damage, not malice: engines are as trustworthy as the folders that they lie in.


_log = logging.getLogger(__name__)
_MAGIC = b"dualhmr sealed 1"
_LENGTH_BYTES = 4
_LONGEST_HEADER = 1 << 16


def write_sealed(path: Path, facts: Mapping[str, str], payload: bytes) -> None:
    """Writes a file whole or not at all. OSError where it cannot be written, or the disk is full.

    Raises FileNotFoundError where the folder is missing.
    """
    seal = {"facts": dict(facts), "sha256": hashlib.sha256(payload).hexdigest()}
    header = json.dumps(seal, sort_keys=True).encode()
    assert len(header) <= _LONGEST_HEADER, "facts are a few words each"
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header)
        file.write(payload)


def read_sealed(path: Path, facts: Mapping[str, str]) -> bytes | None:
    """The payload of a file that is whole and was made with exactly these facts, else None.

    Notes in the log why a file that is there was not used.
    """
    try:
        with path.open("rb") as file:
            seal = _read_header(file)
            if differing := differences(seal["facts"], facts):
                _log.info("%s is not used: it was made with %s", path, differing)
                return None
            payload = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s is not used: %s", path, error)
        return None
    found = hashlib.sha256(payload).hexdigest()
    if found != seal["sha256"]:
        _log.warning("%s is not used: it is damaged; its sha256 is %s", path, found)
        return None
    return payload


def read_facts(path: Path) -> dict[str, Any] | None:
    """What a file says it was made with, its payload unread; None if it is no such file."""
    try:
        with path.open("rb") as file:
            return dict(_read_header(file)["facts"])
    except (OSError, ValueError):
        return None


def _read_header(file: BinaryIO) -> dict[str, Any]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no file of ours, or of another version")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > _LONGEST_HEADER:
        raise ValueError("its header is damaged")
    try:
        seal = json.loads(file.read(length))
        if not isinstance(seal["facts"], dict) or not isinstance(seal["sha256"], str):
            raise TypeError("of another form")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    return dict(seal)


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


_SUFFIX = ".engine"
_DIGITS = 16  # of the key's 64, in file names; the file itself holds the whole key
_OF_TIMINGS = ("library", "library_version", "cuda_version", "capability", "machine")


class CachedEngine(NamedTuple):
    """An engine, and where it is from."""

    engine: bytes
    path: Path | None
    """The file that holds it; None if it could not be kept."""
    built: BuiltEngine | None
    """How it was built, if it was now."""


def cached_engine(
    onnx_path: Path,
    *,
    library: Library,
    profile: Profile,
    capability: str,
    gpu_name: str,
    folders: Sequence[Path],
    precision: str = AS_EXPORTED,
    progress: Report | None = None,
) -> CachedEngine:
    """The engine of an ONNX file, from one of `folders` (see `engine_folders`), or newly built.

    `capability` and `gpu_name` are of the GPU to run on, which has to be the current one unless
    `library` builds for others. Of several processes that need the same engine one builds it, the
    others wait for it. An engine that cannot be kept is used all the same, with a warning.

    Raises FileNotFoundError without the ONNX file, and what `build_engine` raises.
    """
    onnx = onnx_path.read_bytes()
    key = engine_key(
        onnx,
        library=library,
        profile=profile,
        capability=capability,
        gpu_name=gpu_name,
        precision=precision,
    )
    name = engine_file_name(onnx_path, key)
    for folder in folders:
        if (engine := read_sealed(folder / name, key.facts())) is not None:
            return CachedEngine(engine, folder / name, None)
        _note_others(folder, onnx_path, name, key)
    with locked_folder(folders[-1], name) as own:
        path = own / name if own else None
        if path and (engine := read_sealed(path, key.facts())) is not None:
            return CachedEngine(engine, path, None)  # built while this process waited
        _log.info("%s: building the engine for %s, once", onnx_path, capability)
        timings = own / _timings_name(key) if own and library.times_kernels else None
        built = build_engine(
            onnx,
            profile=profile,
            library=library,
            target=capability if library.builds_for_others else None,
            timing_cache=read_sealed(timings, _timing_facts(key)) if timings else None,
            progress=progress,
            metadata=engine_metadata(onnx_path, key),
        )
        if timings and built.timing_cache is not None:
            _keep(timings, _timing_facts(key), built.timing_cache)
        kept = path is not None and _keep(path, key.facts(), built.engine)
        return CachedEngine(built.engine, path if kept else None, built)


def engine_file_name(onnx_path: Path, key: EngineKey) -> str:
    """What the engine of an ONNX file is called, as "backbone.sm86.0123456789abcdef.engine"."""
    return f"{onnx_path.stem}.{key.capability}.{key.digest()[:_DIGITS]}{_SUFFIX}"


def engine_metadata(onnx_path: Path, key: EngineKey) -> dict[str, str]:
    """What is written into the engine itself."""
    return {"file": onnx_path.name, **key.facts()}


def _timings_name(key: EngineKey) -> str:
    return f"timings.{key.library}-{key.library_version}.{key.capability}"


def _timing_facts(key: EngineKey) -> dict[str, str]:
    facts = key.facts()
    return {"kind": "timing cache", **{name: facts[name] for name in _OF_TIMINGS}}


def _keep(path: Path, facts: dict[str, str], payload: bytes) -> bool:
    try:
        write_sealed(path, facts, payload)
    except OSError as error:
        warnings.warn(
            f"{path.name} could not be kept in {path.parent} ({error}); the engine is used from "
            "memory, and the next process builds it again",
            stacklevel=3,
        )
        return False
    return True


def _note_others(folder: Path, onnx_path: Path, name: str, key: EngineKey) -> None:
    """Notes in the log why engines of the same graph that lie here are not the one needed."""
    for path in sorted(folder.glob(f"{glob.escape(onnx_path.stem)}.*{_SUFFIX}")):
        found = read_facts(path) if path.name != name else None
        if found and found.get("onnx_sha256") == key.onnx_sha256:
            _log.info("%s is not used: it was made with %s", path, differences(found, key.facts()))


def prebuild(
    onnx_path: Path,
    folder: Path,
    *,
    profile: Profile,
    precision: str = AS_EXPORTED,
    target: str | None = None,
    library: Library | None = None,
    progress: Report | None = None,
) -> Path:
    """Writes the engine of an ONNX file into `folder` and returns its path.

    It is found again when the folder is called `engines` and lies beside the ONNX file, and by a
    program with the same TensorRT, profile and `precision` on a GPU that the engine fits: any of
    the compute capability `target`, as "sm86"; for None, which is this machine's GPU, and with
    TensorRT proper, any of the same model. An engine that is there already stays.

    Raises ImportError without TensorRT, RuntimeError for a target of None without a GPU, OSError
    where the folder cannot be written, and what `build_engine` raises.
    """
    library = library or load_library()
    gpu = find_gpu() if target is None else None
    if target is None and gpu is None:
        raise RuntimeError(
            "there is no GPU here to build an engine for; name a compute capability to build for, "
            "such as sm86, which takes tensorrt-rtx"
        )
    onnx = onnx_path.read_bytes()
    key = engine_key(
        onnx,
        library=library,
        profile=profile,
        capability=gpu.capability if gpu else str(target),
        gpu_name=gpu.name if gpu else "",
        precision=precision,
    )
    path = folder / engine_file_name(onnx_path, key)
    if read_sealed(path, key.facts()) is not None:
        return path
    built = build_engine(
        onnx,
        profile=profile,
        library=library,
        target=key.capability if library.builds_for_others else target,
        progress=progress,
        metadata=engine_metadata(onnx_path, key),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_sealed(path, key.facts(), built.engine)
    return path
