"""`PersonFitter`, and which one to use: compiled loops, PyTorch, or the bundle's graph."""

import importlib
import logging
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.arrays import check_torch, torch_installed
from dualhmr.body.arrays import BodyArrays
from dualhmr.bundle import ADAPTATION_START, Bundle
from dualhmr.compiling import INSTALL_NUMBA, numba_installed
from dualhmr.engines import AUTO, EngineOptions
from dualhmr.person import AdaptedPerson, FirstGuess, FloatArray, PersonEvidence

ADAPTATIONS = (AUTO, "numba", "torch", "onnx", "tensorrt")
SCOPES = ("head", "all")
_log = logging.getLogger("dualhmr")


class PersonFitter(Protocol):
    """Adapts a network to persons, each alone."""

    @property
    def runs_on(self) -> str:
        """The library and the device in use, as text."""
        ...

    def adapt(self, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """The best body for one person.

        Raises ValueError for a schedule that it cannot run, and NonFiniteError where the loss at
        the start is not finite.
        """
        ...

    def adapt_all(
        self, people: Sequence[PersonEvidence], schedule: Schedule
    ) -> list[AdaptedPerson | NonFiniteError]:
        """As `adapt`, for each of a photograph's persons alone: a body, or why there is none."""
        ...

    def first_guess(self, evidence: PersonEvidence) -> FirstGuess:
        """What the main network says, before any step and whatever the keypoints are."""
        ...


@runtime_checkable
class PosingFitter(Protocol):
    """A `PersonFitter` that poses meshes where it adapts, as on a GPU."""

    def pose(self, rotations: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
        """As `pose_arrays` of the fitter's body."""
        ...


@runtime_checkable
class WarmFitter(Protocol):
    """A `PersonFitter` whose adapted heads can be the start for the next frame of a video.

    A head is whatever the fitter makes of it; None stands for the trained one. It belongs to one
    person, and takes as much memory as the head's weights.
    """

    def adapt_from(
        self, evidence: PersonEvidence, schedule: Schedule, head: Any
    ) -> tuple[AdaptedPerson, Any]:
        """As `PersonFitter.adapt`, from `head`; and the head that was found, for the next frame.

        Moments of Adam are zero at the start. `head` must not be used afterwards.
        """
        ...

    def loss_with(self, evidence: PersonEvidence, schedule: Schedule, head: Any) -> float:
        """The loss of `head` that `schedule` watches, before any step; perhaps not finite.

        Raises NonFiniteError in some fitters where it is not finite.
        """
        ...


def choose_adaptation(adaptation: str, bundle: Bundle, *, device: str, scope: str) -> str:
    """One of `ADAPTATIONS` for "auto", or the one asked for.

    "auto" is "torch" for the scope "all"; else the first that can: on a CPU of "numba", "torch" and
    "onnx"; on a GPU of "torch", "tensorrt" (for a bundle with step graphs), "numba" (on the CPU)
    and "onnx". Raises ValueError for unknown names and contradictions, ImportError where a library
    is needed and not installed, RuntimeError where PyTorch sees no GPU for `device` "cuda".
    """
    if adaptation not in ADAPTATIONS:
        raise ValueError(f"unknown adaptation {adaptation!r}; known are {', '.join(ADAPTATIONS)}")
    if scope not in SCOPES:
        raise ValueError(f"unknown scope {scope!r}; known are {', '.join(SCOPES)}")
    if scope == "all":
        if adaptation not in (AUTO, "torch"):
            raise ValueError(
                f"scope 'all' adapts the backbone, adaptation {adaptation!r} the head alone; leave "
                "one out"
            )
        adaptation = "torch"
    if adaptation == AUTO:
        adaptation = _fastest(bundle, device)
    if adaptation == "numba" and not numba_installed():
        raise ImportError(f"adaptation 'numba' needs numba: {INSTALL_NUMBA}")
    if adaptation == "torch":
        check_torch("scope 'all'" if scope == "all" else "adaptation 'torch'")
        _check_gpu(device)
    return adaptation


def _fastest(bundle: Bundle, device: str) -> str:
    if device != "cpu":
        if torch_installed():
            return "torch"
        if ADAPTATION_START in bundle.manifest.files and _tensorrt_runs(device):
            return "tensorrt"
    if numba_installed():
        return "numba"
    return "torch" if torch_installed() else "onnx"


def _tensorrt_runs(device: str) -> bool:
    from dualhmr.engines.tensorrt.library import library_and_gpu

    try:
        library_and_gpu(device)
    except (ImportError, RuntimeError) as error:
        _log.info("adaptation tensorrt is skipped: %s", error)
        return False
    return True


def open_person_fitter(
    adaptation: str,
    bundle: Bundle,
    body: BodyArrays,
    *,
    device: str,
    scope: str,
    options: EngineOptions,
) -> PersonFitter:
    """Opens what adapts `bundle`'s main network, by `adaptation`, one of `ADAPTATIONS` but "auto".

    Raises FileNotFoundError for a bundle without the file that this needs, ValueError for a file
    that is damaged or does not fit.
    """
    # Imported only where they are used, as their libraries take long to load.
    if adaptation == "numba":
        from dualhmr.person_fitting.compiled_fitter import CompiledFitter

        return CompiledFitter(bundle, body, threads=options.threads)
    if adaptation == "torch":
        from dualhmr.person_fitting.torch_fitter import TorchFitter

        return TorchFitter(
            bundle, body, device=device, scope=scope, cuda_graph=options.captures_graphs
        )
    if adaptation == "tensorrt":
        from dualhmr.person_fitting.tensorrt_fitter import TensorRTFitter

        return TensorRTFitter(bundle, device=device, options=options)
    from dualhmr.person_fitting.onnx_fitter import OnnxFitter

    return OnnxFitter(bundle, device=device, options=options)


def _check_gpu(device: str) -> None:
    if device == "cpu":
        return
    cuda = importlib.import_module("torch").cuda
    if not cuda.is_available():
        raise RuntimeError(
            f"device {device!r} was asked for, but this PyTorch sees no GPU; leave the device out, "
            "or install a CUDA build of torch"
        )
    index, count = int(device.partition(":")[2] or 0), cuda.device_count()
    if index >= count:
        raise RuntimeError(
            f"device {device!r} was asked for, but this PyTorch sees {count} GPUs, numbered from 0"
        )
