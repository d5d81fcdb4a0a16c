"""A bundle's head, read without PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from dualhmr.adaptation.compiled_head import CompiledHead
from dualhmr.bundle import HEAD_WEIGHTS, Bundle
from dualhmr.untrusted import one_value_error

_DECODERS = {"decpose": 144, "decshape": 10, "deccam": 3}
_STARTS = {"init_pose": 144, "init_shape": 10, "init_cam": 3}
_ESTIMATE = sum(_STARTS.values())
_Array = npt.NDArray[Any]


def read_head(bundle: Bundle, dtype: Any = np.float32) -> CompiledHead:
    """The main network's head, in `dtype`.

    Raises FileNotFoundError, or ValueError if the file is damaged or is not of the head that the
    manifest describes.
    """
    path, spec = bundle.path(HEAD_WEIGHTS), bundle.manifest.main
    arrays = {name: array.astype(dtype) for name, array in _read(path).items()}
    with one_value_error(path, "the weights do not fit the network"):
        _check(arrays, spec.hidden, extra=3 * spec.head_reads_box_info)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite")
    start = np.concatenate([arrays.pop(name)[0] for name in _STARTS])
    return CompiledHead.from_parameters(arrays, start=start, iterations=spec.iterations)


def _read(path: Path) -> dict[str, _Array]:
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    with one_value_error(path, "damaged or truncated weights"):
        parts = safetensors.deserialize(path.read_bytes())
        return {name: _array(part) for name, part in parts}


def _array(part: dict[str, Any]) -> _Array:
    kind, data, shape = part["dtype"], part["data"], part["shape"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if kind not in ("F16", "F32", "F64"):
        raise ValueError(f"weights are {kind}, expected floating-point numbers")
    return np.frombuffer(data, f"<f{int(kind[1:]) // 8}").reshape(shape)


def _check(arrays: dict[str, _Array], hidden: int, *, extra: int) -> None:
    """Raises ValueError that lists what is missing, unexpected or of another shape."""
    reads = "fc1.weight" if hidden else "decpose.weight"
    columns = arrays[reads].shape[-1] if reads in arrays else 0
    if columns <= extra + (_ESTIMATE if hidden else 0):
        raise ValueError(f"{reads} of {columns} columns is missing or reads no features")
    expected: dict[str, tuple[int, ...]] = {name: (1, size) for name, size in _STARTS.items()}
    layers = {name: (size, hidden or columns) for name, size in _DECODERS.items()}
    if hidden:
        layers |= {"fc1": (hidden, columns), "fc2": (hidden, hidden)}
    for name, shape in layers.items():
        expected |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    found = {name: array.shape for name, array in arrays.items()}
    wrong = [
        f"{name[:80]} is {found.get(name)}, expected {expected.get(name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if wrong:
        raise ValueError("; ".join(wrong[:20]))
