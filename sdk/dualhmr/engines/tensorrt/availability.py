"""Whether TensorRT can run here, and if not, why."""

from dualhmr.engines.tensorrt.gpu import find_gpu
from dualhmr.engines.tensorrt.library import load_library


def why_unavailable(device: str = "cuda") -> str | None:
    """What keeps TensorRT from running on `device`, for people to read; None if nothing does.

    Raises ValueError for a device that is no GPU.
    """
    gpu = find_gpu(device)
    try:
        library = load_library()
    except ImportError as error:
        return str(error)
    if gpu is None:
        return (
            f"TensorRT needs an NVIDIA GPU, and neither PyTorch nor CuPy finds one as {device!r}; "
            "install PyTorch with CUDA and NVIDIA's driver, or choose another engine"
        )
    if library.builds_for_others and gpu.capability not in library.targets:
        return (
            f"{library.name} {library.version} does not run on {gpu.name} ({gpu.capability}), only "
            f"on {', '.join(library.targets)}; install tensorrt instead"
        )
    return None
