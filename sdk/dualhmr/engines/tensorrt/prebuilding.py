"""Engines built ahead of time, to come with a bundle."""

from pathlib import Path

from dualhmr.engines.tensorrt.builder import build_engine
from dualhmr.engines.tensorrt.cache import engine_file_name, engine_metadata
from dualhmr.engines.tensorrt.engine_files import read_sealed, write_sealed
from dualhmr.engines.tensorrt.gpu import find_gpu
from dualhmr.engines.tensorrt.keys import AS_EXPORTED, engine_key
from dualhmr.engines.tensorrt.library import Library, load_library
from dualhmr.engines.tensorrt.profile import Profile
from dualhmr.engines.tensorrt.progress import Report


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
