"""What a built engine depends on, and so what it is found again by."""

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from dualhmr.engines.tensorrt.library import Library
from dualhmr.engines.tensorrt.profile import Profile

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
