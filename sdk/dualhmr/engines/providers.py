"""The execution providers of ONNX Runtime, by the short names that users give."""

from typing import NamedTuple


class Provider(NamedTuple):
    """One of them."""

    name: str
    """What ONNX Runtime calls it."""
    on_gpu: bool
    """Whether it computes on a CUDA device, and can leave its outputs there."""
    install: str
    """What to do where it is missing."""


PROVIDERS = {
    "cpu": Provider("CPUExecutionProvider", False, "pip install onnxruntime"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        True,
        "pip install onnxruntime-gpu in place of onnxruntime, for the CUDA and cuDNN that are here",
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        True,
        "pip install onnxruntime-gpu in place of onnxruntime, and the tensorrt it was made for",
    ),
    "nv_tensorrt_rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        True,
        "pip install onnxruntime-ep-nv-tensorrt-rtx beside onnxruntime 1.24 or newer",
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        False,
        "pip install onnxruntime-openvino in place of onnxruntime",
    ),
}


def provider_for(name: str | None, device: str) -> Provider:
    """The provider of that short name, or the plain one of "cpu", "cuda" or "cuda:1"."""
    return PROVIDERS[name or device.partition(":")[0]]
