"""Engines that were built before, found again, or else built and kept."""

import glob
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dualhmr.engines.tensorrt.builder import BuiltEngine, build_engine
from dualhmr.engines.tensorrt.engine_files import read_facts, read_sealed, write_sealed
from dualhmr.engines.tensorrt.folders import locked_folder
from dualhmr.engines.tensorrt.keys import AS_EXPORTED, EngineKey, differences, engine_key
from dualhmr.engines.tensorrt.library import Library
from dualhmr.engines.tensorrt.profile import Profile
from dualhmr.engines.tensorrt.progress import Report

_log = logging.getLogger(__name__)
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
