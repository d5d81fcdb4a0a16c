"""What users ask for, checked: devices, who can be recovered, and which camera there was."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import fitting_arrays
from dualhmr.bundle import Bundle, open_bundle
from dualhmr.camera import default_focal_length, image_center
from dualhmr.engines import AUTO, EngineOptions, open_networks
from dualhmr.images import load_image
from dualhmr.keypoints import Keypoints, KeypointSet, as_keypoints, person_problem
from dualhmr.person import AdaptedPerson, observe_person, place_bodies, run_frozen_networks
from dualhmr.person_fitting import choose_adaptation, open_person_fitter
from dualhmr.recovery import Recovery, SkippedPerson


def sort_out(given: Keypoints, size: tuple[int, int]) -> tuple[list[int], list[SkippedPerson]]:
    """Who can be recovered, and who cannot and why. ValueError when nobody can."""
    chosen, skipped = [], []
    for person in range(len(given)):
        problem = person_problem(given.xy[person], given.confidence[person], size)
        if problem is None:
            chosen.append(person)
        else:
            skipped.append(SkippedPerson(person, problem))
    if not chosen:
        reasons = "; ".join(f"person {person}: {reason}" for person, reason in skipped)
        raise ValueError(f"nobody can be recovered: {reasons}")
    return chosen, skipped


def image_camera(
    width: int,
    height: int,
    focal_length: float | None,
    principal_point: tuple[float, float] | None,
) -> tuple[float, tuple[float, float]]:
    """The focal length and the principal point in pixels: those given, or CLIFF's guesses.

    Raises ValueError for numbers that no camera has.
    """
    focal_length = default_focal_length(width, height) if focal_length is None else focal_length
    if not (np.isfinite(focal_length) and focal_length > 0):
        raise ValueError(f"focal_length is {focal_length}, expected pixels, more than 0")
    principal_point = image_center(width, height) if principal_point is None else principal_point
    if np.shape(principal_point) != (2,) or not np.isfinite(principal_point).all():
        raise ValueError(f"principal_point is {principal_point}, expected (x, y) in pixels")
    return float(focal_length), (float(principal_point[0]), float(principal_point[1]))


def check_device(device: str) -> None:
    """Raises ValueError unless it is "cpu", "cuda" or the number of a GPU, "cuda:1"."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"unknown device {device!r}; known are 'cpu' and 'cuda'")


if TYPE_CHECKING:
    from dualhmr.body.model import Body


class Recoverer:
    """Recovers bodies with one bundle. Build it once and use it for many photographs."""

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        *,
        body: "str | os.PathLike[str] | Body | BodyArrays | None" = None,
        device: str | None = None,
        backend: str = AUTO,
        adaptation: str = AUTO,
        options: EngineOptions | None = None,
        scope: str = "head",
    ) -> None:
        """Opens a bundle (None: the one that comes with the package) and the body it needs.

        `body`: a body file; needed for bundles of SMPL networks, whose body is licensed and brought
        by the user. `device`: "cpu" (default) or "cuda". `backend` runs the frozen networks:
        "onnxruntime", "tensorrt", "torch", or "auto", which takes the fastest that works here; the
        attribute `backend` is the one taken, `engine` what it really runs on. `adaptation`: "torch"
        adapts in PyTorch, "onnx" by the bundle's own graph, for the one schedule that it was
        exported for, and "auto" in PyTorch where it is installed; the attribute is the one taken.
        `options` are the backends' settings. `scope`: "head" adapts the regressor head, "all" the
        backbone too (in PyTorch only).

        Raises FileNotFoundError and ValueError for a bundle or body that is missing, damaged or
        does not fit the other, ImportError, RuntimeError or FileNotFoundError for a device or a
        backend that is not to be had.
        """
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        device, options = device or "cpu", options or EngineOptions()
        check_device(device)
        self.adaptation = choose_adaptation(adaptation, device=device, scope=scope)
        self.body = fitting_arrays(
            _in_numpy(body),
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

    def recover(
        self,
        image: Any,
        keypoints: Any,
        *,
        scores: Any = None,
        keypoint_set: str | KeypointSet | None = None,
        schedule: str | Schedule | None = None,
        max_steps: int | None = None,
        focal_length: float | None = None,
        principal_point: tuple[float, float] | None = None,
    ) -> Recovery:
        """See `dualhmr.recover`; the same but for what this object already knows."""
        timings: dict[str, float] = {}
        with _timed(timings, "prepare"):
            photograph = load_image(image)
            given = as_keypoints(keypoints, scores=scores, keypoint_set=keypoint_set)
            height, width = photograph.shape[:2]
            chosen, skipped = sort_out(given, (width, height))
            camera = image_camera(width, height, focal_length, principal_point)
            plan = self._schedule(schedule, max_steps)
            views = [observe_person(given, person, *camera) for person in chosen]
        people = []
        for view in views:
            with _timed(timings, "networks"):
                evidence = run_frozen_networks(
                    photograph, view, self._networks, self.bundle.manifest
                )
            with _timed(timings, "adaptation"):
                people.append(self._fitter.adapt(evidence, plan))
        with _timed(timings, "mesh"):
            return self._collect(given.select(chosen), chosen, skipped, people, timings)

    def _schedule(self, schedule: str | Schedule | None, max_steps: int | None) -> Schedule:
        if not isinstance(schedule, Schedule):
            schedule = self.bundle.manifest.schedule.schedule(schedule)
        return schedule if max_steps is None else schedule.limited_to(max_steps)

    def _collect(
        self,
        keypoints: Keypoints,
        persons: list[int],
        skipped: list[SkippedPerson],
        people: list[AdaptedPerson],
        timings: dict[str, float],
    ) -> Recovery:
        rotations = np.stack([person.rotations for person in people])
        betas = np.stack([person.betas for person in people])
        translation = np.stack([person.translation for person in people])
        vertices, joints = place_bodies(self.body, rotations, betas, translation)
        if not np.isfinite(vertices).all():
            raise ValueError(
                f"bundle {self.bundle.folder} gives a body that is not finite; is it damaged?"
            )
        return Recovery(
            persons=np.array(persons),
            skipped=tuple(skipped),
            vertices=vertices,
            joints=joints,
            keypoints_2d=np.stack([person.keypoints_2d for person in people]),
            global_orient=rotations[:, 0],
            body_pose=rotations[:, 1:],
            betas=betas,
            translation=translation,
            focal_length=np.array([person.focal_length for person in people], np.float32),
            principal_point=np.stack([person.principal_point for person in people]),
            faces=self.body.faces,
            loss_history=tuple(person.iterates.losses for person in people),
            steps=np.array([len(person.iterates.losses) - 1 for person in people]),
            best_step=np.array([person.iterates.best_step for person in people]),
            stop_reason=tuple(person.iterates.stop_reason for person in people),
            reprojection_px=np.array([person.reprojection_px for person in people], np.float32),
            timings_ms=timings,
            engine=self.engine,
            adaptation=self._fitter.runs_on,
            keypoints=keypoints,
            traces=tuple(person.iterates.trace for person in people),
            body=self.body,
        )


def recover(
    image: Any,
    keypoints: Any,
    *,
    scores: Any = None,
    keypoint_set: str | KeypointSet | None = None,
    bundle: str | os.PathLike[str] | Bundle | None = None,
    schedule: str | Schedule | None = None,
    max_steps: int | None = None,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
    device: str | None = None,
    backend: str = AUTO,
    adaptation: str = AUTO,
) -> Recovery:
    """Recovers the body of everybody whose 2D keypoints are given.

    `image`: a path, a PIL image or an (H, W, 3) uint8 RGB array; EXIF orientation is applied.
    `keypoints`: (K, 2), (K, 3) with confidences, or the same for P persons, in image pixels with
    (0, 0) the centre of the top-left pixel; `scores` (K,) or (P, K) give confidences separately, as
    rtmlib does. `keypoint_set` names what the K keypoints are; it is inferred from K otherwise.
    `bundle`: a folder that `dualhmr_export` wrote; None is the default networks. `schedule`:
    "paper", "trained", "release" or "eft"; None is the bundle's own. `max_steps`: 14 by default.
    `focal_length` and `principal_point`: image pixels, where they are known; the image's diagonal
    and centre otherwise. `device`: "cpu" (default) or "cuda". `backend` runs the frozen networks:
    "onnxruntime", "tensorrt", "torch", or "auto", the fastest that works here. `adaptation`:
    "torch", "onnx", which needs no PyTorch, or "auto": PyTorch where it is installed.

    Persons with fewer than six keypoints with confidence, or outside of the image, are listed in
    `Recovery.skipped`. Raises FileNotFoundError, TypeError or ValueError, saying what came, what
    was expected and what to do, for anything else that cannot be used, and when nobody is left;
    ImportError or RuntimeError for a device or a backend that is not to be had.

    To recover from many photographs, build a `Recoverer` once.
    """
    return Recoverer(bundle, device=device, backend=backend, adaptation=adaptation).recover(
        image,
        keypoints,
        scores=scores,
        keypoint_set=keypoint_set,
        schedule=schedule,
        max_steps=max_steps,
        focal_length=focal_length,
        principal_point=principal_point,
    )


def _in_numpy(
    body: "str | os.PathLike[str] | Body | BodyArrays | None",
) -> str | os.PathLike[str] | BodyArrays | None:
    if body is None or isinstance(body, str | os.PathLike | BodyArrays):
        return body
    return body.arrays()


def _backend_for_all(backend: str) -> str:
    """The backend that can run networks which are adapted whole."""
    if backend not in (AUTO, "torch"):
        raise ValueError(
            f"scope 'all' adapts the backbone, which backend {backend!r} keeps fixed; "
            "use backend='torch'"
        )
    return "torch"


@contextmanager
def _timed(timings: dict[str, float], what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[what] = timings.get(what, 0.0) + 1000 * (time.perf_counter() - start)
