"""Fitting one person on a CPU without PyTorch: the head and the objective as compiled loops."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from dualhmr.adaptation.compiled_head import CompiledHead
from dualhmr.adaptation.compiled_loops import take_step
from dualhmr.adaptation.recorder import AdaptationResult
from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.arrays import to_numpy
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.point_regressors import compared_points, keypoint_regressor
from dualhmr.bundle import HEAD_WEIGHTS, Bundle
from dualhmr.camera import FullCamera, View, project
from dualhmr.compiling import WorkerThreads, announce_compiling, numba_version, usable_cpus
from dualhmr.crop import crop_convention
from dualhmr.keypoints import KeypointSet, network_keypoints
from dualhmr.objective.compiled_objective import CompiledObjective, Iterate, PersonObjective
from dualhmr.person import (
    AdaptedPerson,
    FirstGuess,
    FloatArray,
    PersonEvidence,
    PersonIterates,
    StepTrace,
    best_of,
)
from dualhmr.person_fitting.one_by_one import adapt_one_by_one
from dualhmr.untrusted import one_value_error

_Array = npt.NDArray[Any]
_POSE, _CAMERA = 144, 3
_DECODERS = {"decpose": 144, "decshape": 10, "deccam": 3}
_STARTS = {"init_pose": 144, "init_shape": 10, "init_cam": 3}
_ESTIMATE = sum(_STARTS.values())


class CompiledFitter:
    """A `PersonFitter` that adapts the head by any schedule; several threads may share it."""

    def __init__(
        self,
        bundle: Bundle,
        body: BodyArrays,
        *,
        threads: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        """Reads the head; all numbers are of `dtype`. `threads` (None: all CPUs) adapt
        persons side by side, or one with a large head together.

        Raises FileNotFoundError or ValueError for weights that are missing or do not fit.
        """
        self._manifest, self._body, self._dtype = bundle.manifest, body, np.dtype(dtype)
        self._head = read_head(bundle, dtype)
        self._threads = threads or usable_cpus()
        self._workers, self._no_workers = WorkerThreads(self._threads), WorkerThreads(1)
        self._objective = lru_cache(maxsize=8)(self._build_objective)
        announce_compiling(take_step, "the test-time step")

    @property
    def runs_on(self) -> str:
        """The library, its version and the device."""
        return f"numba {numba_version()} cpu"

    def adapt(self, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
        """Adapts the head to one person; see `dualhmr.adaptation.adapt`."""
        return self._adapt(evidence, schedule, self._workers)

    def adapt_all(
        self, people: Sequence[PersonEvidence], schedule: Schedule
    ) -> list[AdaptedPerson | NonFiniteError]:
        """Persons side by side, as compiled loops release the GIL; each gets what it gets alone."""
        threads = min(len(people), self._threads)
        if threads <= 1:
            return adapt_one_by_one(self.adapt, people, schedule)
        alone = partial(self._adapt, workers=self._no_workers)
        with ThreadPoolExecutor(threads) as pool:
            each = pool.map(lambda person: adapt_one_by_one(alone, [person], schedule), people)
            return [result for (result,) in each]

    def adapt_from(
        self, evidence: PersonEvidence, schedule: Schedule, head: CompiledHead | None
    ) -> tuple[AdaptedPerson, CompiledHead]:
        """See `WarmFitter`; a head that is passed is changed in place and returned."""
        head = self._head.copy() if head is None else head
        result = self.adapt_head(evidence, schedule, head=head)
        return best_of(self._describe(result, evidence), evidence.observed), head

    def loss_with(
        self, evidence: PersonEvidence, schedule: Schedule, head: CompiledHead | None
    ) -> float:
        """See `WarmFitter`."""
        head = self._head if head is None else head
        person = self._person(evidence, self._no_workers)
        none = schedule.limited_to(0)
        return head.adapt(self._head_input(evidence), person, none).loss_history[0]

    def first_guess(self, evidence: PersonEvidence) -> FirstGuess:
        """The head's output before any step."""
        person = self._person(evidence, self._no_workers)
        estimate = self._head.first_estimate(self._head_input(evidence))
        everything = person.wanted(None)
        person(estimate, everything, everything)
        iterate = person.iterate(estimate)
        camera = self._camera(estimate[None], evidence)
        return FirstGuess(
            rotations=_single(iterate.rotations),
            betas=_single(estimate[_POSE:-_CAMERA]),
            camera=_single(estimate[-_CAMERA:]),
            translation=_single(camera.translation[0]),
            focal_length=float(camera.focal_length[0]),
            principal_point=_single(camera.principal_point[0]),
        )

    def adapt_head(
        self,
        evidence: PersonEvidence,
        schedule: Schedule,
        *,
        head: CompiledHead | None = None,
        workers: WorkerThreads | None = None,
    ) -> AdaptationResult:
        """As `adapt`, without a body: outputs are `Iterate`s. A `head` is adapted in place."""
        workers = workers or self._workers
        person = self._person(evidence, workers)
        return (head or self._head).adapt(
            self._head_input(evidence),
            person,
            schedule,
            output=person.iterate,
            in_place=head is not None,
            workers=workers,
        )

    def _adapt(
        self, evidence: PersonEvidence, schedule: Schedule, workers: WorkerThreads
    ) -> AdaptedPerson:
        result = self.adapt_head(evidence, schedule, workers=workers)
        return best_of(self._describe(result, evidence), evidence.observed)

    def _build_objective(self, names: KeypointSet) -> CompiledObjective:
        manifest = self._manifest
        keypoints = keypoint_regressor(self._body, names)
        return CompiledObjective(
            self._body,
            compared_points(self._body, manifest.keypoint_set, keypoints),
            keypoint_count=network_keypoints(manifest.keypoint_set).count,
            camera=manifest.camera,
            weights=manifest.weights,
            crop_size=crop_convention(manifest.crop).size,
            dtype=self._dtype,
        )

    def _person(self, evidence: PersonEvidence, workers: WorkerThreads) -> PersonObjective:
        observed = evidence.observed
        return PersonObjective(
            self._objective(observed.keypoint_set),
            keypoints=observed.crop_keypoints[0],
            confidence=observed.confidence[0],
            view=observed.view,
            rotations=to_numpy(evidence.rotations)[0],
            betas=to_numpy(evidence.betas)[0],
            workers=workers,
        )

    def _head_input(self, evidence: PersonEvidence) -> _Array:
        parts = [to_numpy(evidence.features)[0]]
        if self._manifest.main.head_reads_box_info:
            parts.append(evidence.inputs["box_info"][0])
        return np.concatenate(parts).astype(self._dtype)

    def _camera(self, estimates: _Array, evidence: PersonEvidence) -> FullCamera:
        """Of estimates (S, E)."""
        objective = self._objective(evidence.observed.keypoint_set)
        view = View(*(np.asarray(part, self._dtype) for part in evidence.observed.view))
        return objective.camera(estimates[:, -_CAMERA:], view, objective.crop_size)

    def _describe(self, result: AdaptationResult, evidence: PersonEvidence) -> PersonIterates:
        iterates = [output for output in result.outputs if isinstance(output, Iterate)]
        estimates, rotations, points = map(np.stack, zip(*iterates, strict=True))
        camera = self._camera(estimates, evidence)
        keypoints = _single(project(points, camera))
        keypoints[:, ~self._objective(evidence.observed.keypoint_set).available] = np.nan
        count = len(estimates)
        return PersonIterates(
            losses=result.loss_history,
            trace=StepTrace(
                _single(rotations),
                _single(estimates[:, _POSE:-_CAMERA]),
                _single(camera.translation),
            ),
            keypoints_2d=keypoints,
            focal_length=_single(np.broadcast_to(camera.focal_length, (count,))),
            principal_point=_single(np.broadcast_to(camera.principal_point, (count, 2))),
            best_step=result.best_step,
            stop_reason=result.stop_reason,
        )


def _single(array: _Array) -> FloatArray:
    return np.asarray(array, np.float32)


def read_head(bundle: Bundle, dtype: Any = np.float32) -> CompiledHead:
    """The main network's head, in `dtype`.

    Raises FileNotFoundError, or ValueError if the file is damaged or is not of the head that the
    manifest describes.
    """
    path, spec = bundle.path(HEAD_WEIGHTS), bundle.manifest.main
    arrays = {name: array.astype(dtype) for name, array in _read_arrays(path).items()}
    with one_value_error(path, "the weights do not fit the network"):
        _check_shapes(arrays, spec.hidden, extra=3 * spec.head_reads_box_info)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite")
    start = np.concatenate([arrays.pop(name)[0] for name in _STARTS])
    return CompiledHead.from_parameters(arrays, start=start, iterations=spec.iterations)


def _read_arrays(path: Path) -> dict[str, _Array]:
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    with one_value_error(path, "damaged or truncated weights"):
        parts = safetensors.deserialize(path.read_bytes())
        return {name: _weights(part) for name, part in parts}


def _weights(part: dict[str, Any]) -> _Array:
    kind, data, shape = part["dtype"], part["data"], part["shape"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if kind not in ("F16", "F32", "F64"):
        raise ValueError(f"weights are {kind}, expected floating-point numbers")
    return np.frombuffer(data, f"<f{int(kind[1:]) // 8}").reshape(shape)


def _check_shapes(arrays: dict[str, _Array], hidden: int, *, extra: int) -> None:
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
