"""Frozen networks in TensorRT, or in TensorRT for RTX GPUs.

`library.py` finds the installed library and the GPU, `build.py` builds an engine from an ONNX file,
`cache.py` keeps built engines, and `run.py` runs them, in arrays of `memory.py`. Importing any of
these loads neither library and does not initialise a GPU.
"""
