"""Frozen networks in TensorRT."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dualhmr.engines.options import DEFAULT_MAX_BATCH, EngineOptions
from dualhmr.engines.tensorrt.availability import why_unavailable
from dualhmr.engines.tensorrt.cache import CachedEngine, cached_engine
from dualhmr.engines.tensorrt.folders import engine_folders
from dualhmr.engines.tensorrt.gpu import find_gpu
from dualhmr.engines.tensorrt.keys import AS_EXPORTED
from dualhmr.engines.tensorrt.library import Library, load_library
from dualhmr.engines.tensorrt.memory import device_memory
from dualhmr.engines.tensorrt.messages import listening, logger_of
from dualhmr.engines.tensorrt.profile import profile_up_to
from dualhmr.engines.tensorrt.progress import Report
from dualhmr.engines.tensorrt.running import EngineRunner
from dualhmr.engines.tensorrt.splitting import in_batches


class TensorRTNetwork:
    """An ONNX file, run by TensorRT on one GPU. Outputs are torch tensors, or CuPy arrays, there.

    Both speak DLPack. A call returns before the GPU is done; whoever goes on working with the
    outputs on the stream that was current at the call, as PyTorch and CuPy do, need not care.
    """

    def __init__(
        self,
        onnx_path: Path,
        *,
        device: str = "cuda",
        options: EngineOptions | None = None,
        precision: str = AS_EXPORTED,
        progress: Report | None = None,
    ) -> None:
        """Loads the engine of `onnx_path`, which is built first unless it was before: minutes.

        `options`: max_batch, cuda_graph and cache_folder are read. `precision`: a label that has to
        be the one that a prebuilt engine was made with. `progress`: is told how a build goes.

        Raises RuntimeError where TensorRT is not to be had on `device`, ValueError for a graph that
        is damaged or not for TensorRT, and FileNotFoundError.
        """
        options = options or EngineOptions()
        if reason := why_unavailable(device):
            raise RuntimeError(reason)
        gpu = find_gpu(device)
        assert gpu is not None, "why_unavailable has found it"
        library = load_library()
        profile = profile_up_to(options.max_batch or DEFAULT_MAX_BATCH)
        self._memory = device_memory(gpu)
        with self._memory.on_device():
            found = cached_engine(
                onnx_path,
                library=library,
                profile=profile,
                capability=gpu.capability,
                gpu_name=gpu.name,
                folders=engine_folders(onnx_path, options.cache_folder),
                precision=precision,
                progress=progress,
            )
            # The runtime has to outlive the engine.
            self._runtime, engine = _deserialised(library, found)
            self._runner = EngineRunner(
                library.module, engine, self._memory, cuda_graph=options.cuda_graph
            )
        self._largest = profile.max_batch
        self._runs_on = f"{library.name} {library.version} {gpu.name} ({gpu.capability})"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(tensor.name for tensor in self._runner.inputs)

    @property
    def runs_on(self) -> str:
        """Library, version and GPU."""
        return self._runs_on

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Inputs by name, persons first, to outputs by name, on the GPU.

        More persons than the engine takes at once are run in parts. Raises ValueError for missing
        inputs and wrong shapes, TypeError for wrong types.
        """
        missing = [name for name in self.reads if name not in inputs]
        if missing:
            raise ValueError(f"missing inputs {missing}; this network reads {list(self.reads)}")
        given = {name: inputs[name] for name in self.reads}
        return in_batches(self._runner, given, largest=self._largest, join=self._memory.join)


def _deserialised(library: Library, found: CachedEngine) -> tuple[Any, Any]:
    trt = library.module
    with listening(trt) as messages:
        runtime = trt.Runtime(logger_of(trt))
        engine = runtime.deserialize_cuda_engine(found.engine)
        if engine is None:
            where = f"; delete {found.path} to have it built again" if found.path else ""
            raise RuntimeError(
                f"{library.name} {library.version} cannot load its engine: "
                f"{messages.quoted()}{where}"
            )
    return runtime, engine
