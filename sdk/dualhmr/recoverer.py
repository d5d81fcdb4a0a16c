"""`recover` and `Recoverer`: a photograph and its persons' 2D keypoints -> `Recovery`.

Everything that a user passes is checked here, before a network runs. Every person is adapted alone,
so a result does not depend on who else is in the photograph.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.arguments import check_type, shown, whole_number
from dualhmr.body.arrays import BodyArrays, BodyParts, body_keypoints
from dualhmr.body.files import matching_arrays
from dualhmr.bundle import Bundle, open_bundle
from dualhmr.camera import image_camera
from dualhmr.engines import AUTO, EngineOptions, open_networks
from dualhmr.images import read_image, upright_by_keypoints
from dualhmr.keypoints import MIN_CONFIDENCE, KeypointSet, as_keypoints
from dualhmr.person import (
    AdaptedPerson,
    FloatArray,
    ObservedPerson,
    PersonEvidence,
    observe_person,
    place_bodies,
    run_frozen_networks,
)
from dualhmr.person_fitting import PersonFitter, choose_adaptation, open_person_fitter
from dualhmr.plausibility import (
    PersonWarning,
    PlausibleKeypoints,
    SkippedPerson,
    body_warnings,
    check_keypoint_names,
    plausible_keypoints,
)
from dualhmr.recovery import Recovery

if TYPE_CHECKING:
    import torch

    from dualhmr.body.model import Body


class Recoverer:
    """Recovers bodies with one bundle. Build it once and use it for many photographs."""

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        *,
        body: "str | os.PathLike[str] | Body | BodyArrays | None" = None,
        device: "str | torch.device | None" = None,
        backend: str = AUTO,
        adaptation: str = AUTO,
        options: EngineOptions | None = None,
        scope: str = "head",
    ) -> None:
        """Opens a bundle (None: the default one in the package) and the body that it needs.

        Args:
            bundle: The folder of a bundle, or an opened bundle.
            body: A body file or a body. Bundles of SMPL networks need it, because SMPL's license
                does not allow us to ship it.
            device: "cpu" (default), "cuda", "cuda:1", or a torch.device.
            backend: Runs the frozen networks: "onnxruntime", "tensorrt", "torch", or "auto", the
                fastest that works here. The attribute `backend` is the chosen one, and `engine`
                names the library and device that it runs on.
            adaptation: "torch" adapts in PyTorch by any schedule. "onnx" needs no PyTorch and runs
                the bundle's graph, which follows the one schedule it was exported for. "auto" is
                "torch" if PyTorch is installed. The attribute `adaptation` is the chosen one.
            options: Settings of the backends.
            scope: "head" adapts the regressor head, "all" also the backbone (in PyTorch only).

        Raises:
            FileNotFoundError: The bundle, one of its files or the body is missing.
            TypeError: An argument is of another type.
            ValueError: The bundle or body is damaged or they do not match, or an option is unknown.
            ImportError, RuntimeError: The device or the backend is not available, or fails.
        """
        self._arguments: dict[str, Any] = {
            "bundle": bundle,
            "body": body,
            "device": device,
            "backend": backend,
            "adaptation": adaptation,
            "options": options,
            "scope": scope,
        }
        check_type("bundle", bundle, (str, os.PathLike, Bundle, type(None)), "a folder or a Bundle")
        check_type("options", options, (EngineOptions, type(None)), "EngineOptions")
        arrays = _as_arrays(body)
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        device = _device_name(device)
        options = options or EngineOptions()
        self.adaptation = choose_adaptation(adaptation, device=device, scope=scope)
        self.body = matching_arrays(
            arrays,
            needed=self.bundle.manifest.body,
            networks=f"bundle {self.bundle.folder}",
        )
        if scope == "all":
            backend = _backend_for_all(backend)
        self._networks = open_networks(self.bundle, backend, device=device, options=options)
        self.backend, self.engine = self._networks.backend, self._networks.runs_on
        self._fitter = open_person_fitter(
            self.adaptation, self.bundle, self.body, device=device, scope=scope, options=options
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as its arguments: a process that is handed one opens bundle and body anew."""
        return partial(Recoverer, **self._arguments), ()

    def recover(
        self,
        image: Any,
        keypoints: Any,
        *,
        scores: Any = None,
        score_scale: float = 1.0,
        min_confidence: float = MIN_CONFIDENCE,
        keypoint_set: str | KeypointSet | None = None,
        schedule: str | Schedule | None = None,
        max_steps: int | None = None,
        focal_length: float | None = None,
        principal_point: tuple[float, float] | None = None,
    ) -> Recovery:
        """Recovers the persons in one photograph; see `dualhmr.recover` for the arguments."""
        timings: dict[str, float] = {}
        with _timed(timings, "prepare"):
            photo = read_image(image)
            everybody = as_keypoints(
                keypoints,
                scores=scores,
                score_scale=score_scale,
                min_confidence=min_confidence,
                keypoint_set=keypoint_set,
            )
            known = body_keypoints(self.body)
            check_keypoint_names(everybody.set, known)
            pixels, doubt = upright_by_keypoints(photo, everybody.xy, everybody.confidence)
            height, width = pixels.shape[:2]
            camera = image_camera(width, height, focal_length, principal_point)
            chosen_schedule = self._schedule(schedule, max_steps)
            plausible = plausible_keypoints(everybody, (width, height), known)
            if doubt is not None:
                plausible.warnings.extend(
                    PersonWarning(person, "orientation", doubt) for person in plausible.persons
                )
            crop = self.bundle.manifest.crop
            observed = [
                observe_person(plausible.of_body, person, *camera, crop=crop)
                for person in plausible.persons
            ]
        found = []
        for number, person in zip(plausible.persons, observed, strict=True):
            with _timed(timings, "networks"):
                evidence = run_frozen_networks(pixels, person, self._networks, self.bundle.manifest)
            with _timed(timings, "adaptation"):
                try:
                    body = _adapted(self._fitter, evidence, chosen_schedule)
                except NonFiniteError as error:
                    plausible.skipped.append(SkippedPerson(number, str(error)))
                else:
                    found.append((number, person, body))
        with _timed(timings, "mesh"):
            return self._collect(plausible, found, timings)

    def _schedule(self, schedule: str | Schedule | None, max_steps: int | None) -> Schedule:
        if not isinstance(schedule, Schedule):
            check_type("schedule", schedule, (str, type(None)), "a schedule's name or a Schedule")
            schedule = self.bundle.manifest.schedule.schedule(schedule)
        if max_steps is None:
            return schedule
        steps = whole_number("max_steps", max_steps, "a number of steps")
        if steps > _MAX_STEPS:
            raise ValueError(f"max_steps is {shown(steps)}, expected at most {_MAX_STEPS}")
        return schedule.limited_to(steps)

    def _collect(
        self,
        plausible: PlausibleKeypoints,
        found: list[tuple[int, ObservedPerson, AdaptedPerson]],
        timings: dict[str, float],
    ) -> Recovery:
        """The result, from number, keypoints and body of those who could be adapted."""
        persons, adapted = [number for number, _, _ in found], [body for _, _, body in found]
        count, betas = len(adapted), self.body.beta_count
        rotations = _stacked([person.rotations for person in adapted], (24, 3, 3))
        shapes = _stacked([person.betas for person in adapted], (betas,))
        translation = _stacked([person.translation for person in adapted], (3,))
        vertices, joints = place_bodies(self.body, rotations, shapes, translation)
        if not np.isfinite(vertices).all():
            raise ValueError(
                f"bundle {self.bundle.folder} gives a body that is not finite; is it damaged?"
            )
        keypoints = plausible.keypoints.select(persons)
        warnings = [warning for warning in plausible.warnings if warning.person in persons]
        for row, (number, observed, body) in enumerate(found):
            warnings += body_warnings(
                number,
                vertices=vertices[row],
                body=self.body,
                betas=shapes[row],
                reprojection_px=body.reprojection_px,
                box_height=float(observed.view.box_height[0]),
            )
        return Recovery(
            persons=np.array(persons, np.int64),
            skipped=tuple(sorted(plausible.skipped)),
            warnings=tuple(sorted(warnings, key=lambda warning: warning.person)),
            vertices=vertices,
            joints=joints,
            keypoints_2d=_stacked([p.keypoints_2d for p in adapted], (len(keypoints.set), 2)),
            global_orient=rotations[:, 0],
            body_pose=rotations[:, 1:],
            betas=shapes,
            translation=translation,
            focal_length=np.array([person.focal_length for person in adapted], np.float32),
            principal_point=_stacked([person.principal_point for person in adapted], (2,)),
            faces=self.body.faces,
            loss_history=tuple(person.iterates.losses for person in adapted),
            steps=np.array([len(person.iterates.losses) - 1 for person in adapted], np.int64),
            best_step=np.array([person.iterates.best_step for person in adapted], np.int64),
            stop_reason=tuple(person.iterates.stop_reason for person in adapted),
            reprojection_px=np.array(
                [person.reprojection_px for person in adapted], np.float32
            ).reshape(count, 2),
            timings_ms=timings,
            engine=self.engine,
            adaptation=self._fitter.runs_on,
            keypoints=keypoints,
            traces=tuple(person.iterates.trace for person in adapted),
            body=self.body,
        )


def recover(
    image: Any,
    keypoints: Any,
    *,
    scores: Any = None,
    score_scale: float = 1.0,
    min_confidence: float = MIN_CONFIDENCE,
    keypoint_set: str | KeypointSet | None = None,
    bundle: str | os.PathLike[str] | Bundle | None = None,
    schedule: str | Schedule | None = None,
    max_steps: int | None = None,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
    device: "str | torch.device | None" = None,
    backend: str = AUTO,
    adaptation: str = AUTO,
) -> Recovery:
    """Recovers the bodies of the persons whose 2D keypoints are passed.

    To recover from many photographs, build a `Recoverer` once.

    Args:
        image: A path, a PIL image or an (H, W, 3) uint8 RGB array. EXIF orientation is applied;
            see `load_image` for images that were turned by hand.
        keypoints: (K, 2), (K, 3) with confidences, or the same for P persons, in image pixels;
            (0, 0) is the centre of the top-left pixel.
        scores: (K,) or (P, K) confidences, for detectors that return them separately (rtmlib).
        score_scale: The best score of the detector, by which confidences are divided.
        min_confidence: Keypoints below it count as missing (0.3; the authors' release: 0).
        keypoint_set: What the K keypoints are. Inferred from K if left out.
        bundle: A folder that `dualhmr export` wrote. None: the default networks.
        schedule: "paper", "trained", "release" or "eft". None: the bundle's.
        max_steps: 14 by default.
        focal_length: Image pixels. None: the image's diagonal.
        principal_point: Image pixels. None: the image's centre.
        device: "cpu" (default), "cuda", "cuda:1", or a torch.device.
        backend: Runs the frozen networks: "onnxruntime", "tensorrt", "torch", or "auto", the
            fastest that works here.
        adaptation: "torch", "onnx", which needs no PyTorch, or "auto", PyTorch if it is installed.

    Returns:
        The recovered persons, perhaps none. Persons without six plausible keypoints that the body
        has are listed in `Recovery.skipped`; what cannot be right, in `Recovery.warnings`.

    Raises:
        FileNotFoundError, TypeError, ValueError: An argument cannot be used. The message
            says what came, what was expected and what to do.
        ImportError, RuntimeError: The device or the backend is not available, or fails.
    """
    return Recoverer(bundle, device=device, backend=backend, adaptation=adaptation).recover(
        image,
        keypoints,
        scores=scores,
        score_scale=score_scale,
        min_confidence=min_confidence,
        keypoint_set=keypoint_set,
        schedule=schedule,
        max_steps=max_steps,
        focal_length=focal_length,
        principal_point=principal_point,
    )


def _as_arrays(
    body: "str | os.PathLike[str] | Body | BodyArrays | None",
) -> str | os.PathLike[str] | BodyArrays | None:
    if body is None or isinstance(body, str | os.PathLike | BodyArrays):
        return body
    # Not isinstance(body, Body), which needs PyTorch.
    to_arrays = getattr(body, "arrays", None)
    if to_arrays is None or not isinstance(body, BodyParts):
        raise TypeError(
            f"body is {shown(body)} of type {type(body).__name__}, expected a body file or a body "
            "that load_body or read_body read"
        )
    arrays: BodyArrays = to_arrays()
    return arrays


def _device_name(device: object) -> str:
    """ "cpu", "cuda" or "cuda:1", of a name or of a torch.device."""
    expected = "expected 'cpu', 'cuda', 'cuda:1', or a torch.device of these"
    if device is None:
        return "cpu"
    # Without an import of torch, which may not be installed.
    is_torchs = (type(device).__module__, type(device).__name__) == ("torch", "device")
    if not is_torchs and not isinstance(device, str):
        raise TypeError(f"device is {shown(device)} of type {type(device).__name__}, {expected}")
    name = str(device)
    if not re.fullmatch(r"cpu(:0)?|cuda(:[0-9]{1,3})?", name):
        raise ValueError(f"unknown device {shown(name)}; {expected}")
    return name.removesuffix(":0") if name.startswith("cpu") else name


def _backend_for_all(backend: str) -> str:
    if backend not in (AUTO, "torch"):
        raise ValueError(
            f"scope 'all' adapts the backbone, which backend {backend!r} keeps fixed; "
            "use backend='torch'"
        )
    return "torch"


def _adapted(fitter: PersonFitter, evidence: PersonEvidence, schedule: Schedule) -> AdaptedPerson:
    body = fitter.adapt(evidence, schedule)
    # NaN are the points that the body does not have; a point in the camera's plane is infinite.
    if np.isinf(body.keypoints_2d).any() or not np.isfinite(body.reprojection_px).all():
        raise NonFiniteError("the body cannot be projected into the image")
    return body


def _stacked(arrays: list[FloatArray], shape: tuple[int, ...]) -> FloatArray:
    """One array (P, *shape), for zero persons too."""
    return np.stack(arrays) if arrays else np.zeros((0, *shape), np.float32)


# Every step is kept, and all of them take about a millisecond each.
_MAX_STEPS = 100_000


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the milliseconds that the block takes to those of its stage."""
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + 1000 * (time.perf_counter() - start)
