"""Where a training runs: on a CPU or on GPUs, in one process or in several."""

import gc

import torch
from accelerate import Accelerator

DEVICES = ("auto", "cpu", "cuda")


def open_accelerator(device: str = "auto") -> Accelerator:
    """This process's accelerator; `auto` takes a GPU where there is one.

    Under torchrun or `accelerate launch` it joins the other processes, and `cuda` is the GPU of
    this one. Raises ValueError for an unknown device, RuntimeError where there is no GPU.
    """
    if device not in DEVICES:
        raise ValueError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise RuntimeError("this PyTorch sees no GPU to train on; leave the device out, or use cpu")
    # Precision is not Accelerate's business here, see `mixed_precision`.
    return Accelerator(cpu=device == "cpu" or not has_gpu, mixed_precision="no")


def close_accelerator(accelerator: Accelerator) -> None:
    """Leaves the other processes. Nobody may hold a `Trainer` any more.

    A data-parallel module that outlives the process group ends it when it dies itself, and then
    waits, holding Python's lock, for a thread of gloo's that waits for this lock.
    """
    accelerator.free_memory()
    gc.collect()
    accelerator.end_training()
