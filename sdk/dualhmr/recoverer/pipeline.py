"""`Pipeline`: prepare each photograph by itself, fit the people of any number of them together.

Every person is adapted alone, so a result does not depend on who else is in the photograph, nor on
which photographs are fitted together.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.body.arrays import BodyArrays, body_keypoints
from dualhmr.body.parameters import SMPLParameters
from dualhmr.body.posing import pose_arrays
from dualhmr.bundle import Bundle
from dualhmr.crop import crop_convention
from dualhmr.detection import AnyDetector
from dualhmr.engines import FrozenNetworks
from dualhmr.images import LoadedImage, read_image
from dualhmr.keypoints import network_keypoints
from dualhmr.person import (
    AdaptedPerson,
    ObservedPerson,
    PersonEvidence,
    PersonInputs,
    person_crop,
    person_inputs,
    run_frozen_networks,
    run_networks_on_people,
)
from dualhmr.person_fitting import PersonFitter, PosingFitter
from dualhmr.plausibility import PlausibleKeypoints, SkippedPerson
from dualhmr.recoverer.arguments import as_pseudo_meshes, check_uses_pseudo_mesh
from dualhmr.recoverer.collecting import (
    FoundPerson,
    Pose,
    PseudoMesh,
    collect_recovery,
    place_people,
    pseudo_meshes,
)
from dualhmr.recoverer.finding import PeopleFinder
from dualhmr.recoverer.observation import Observation, observe
from dualhmr.recoverer.photo import Photo
from dualhmr.recoverer.prediction import Prediction, describe_prediction
from dualhmr.recovery import Recovery

_Fitted = AdaptedPerson | NonFiniteError
_Adapt = Callable[[list[PersonEvidence]], list[_Fitted]]
_WithPseudoMesh = tuple[_Fitted, PseudoMesh]


class PreparedPhoto(NamedTuple):
    """The people of one photograph, and what the networks read of those who can be recovered."""

    plausible: PlausibleKeypoints
    people: list[PersonInputs]
    """In the order of `plausible.persons`, which has their numbers."""
    timings: dict[str, float]
    """Milliseconds by stage so far."""


@dataclass(frozen=True)
class Pipeline:
    """Opened networks and what is done with them. Threads may share it."""

    bundle: Bundle
    body: BodyArrays
    networks: FrozenNetworks
    fitter: PersonFitter
    finder: PeopleFinder
    own_auxiliary: bool
    """Whether the user's source of pseudo meshes takes the place of the bundle's."""

    def prepare(
        self, photo: Photo, schedule: Schedule, detector: AnyDetector | None = None
    ) -> PreparedPhoto:
        """Reads a photograph, checks what was passed with it, and crops its people.

        Raises what `dualhmr.recover` does for arguments.
        """
        timings: dict[str, float] = {}
        with _timed(timings, "prepare"):
            image = read_image(photo.image)
        with _timed(timings, "detection" if photo.is_alone else "prepare"):
            photo = self.finder.with_people(photo, image, detector)
        with _timed(timings, "prepare"):
            seen = self._observe(photo, image)
            meshes = as_pseudo_meshes(
                photo.pseudo_mesh,
                len(seen.plausible.keypoints),
                beta_count=self.body.beta_count,
            )
            if self.own_auxiliary or any(mesh is not None for mesh in meshes):
                check_uses_pseudo_mesh(schedule)
            people = [
                self._inputs(seen.pixels, person, meshes[number])
                for number, person in zip(seen.plausible.persons, seen.persons, strict=True)
            ]
        return PreparedPhoto(seen.plausible, people, timings)

    def _inputs(
        self,
        pixels: npt.NDArray[np.uint8],
        person: ObservedPerson,
        pseudo_mesh: SMPLParameters | None,
    ) -> PersonInputs:
        networks = self.networks
        reads = networks.reads if pseudo_mesh is None else networks.backbone.reads
        return person_inputs(
            pixels, person, self.bundle.manifest, reads=reads, pseudo_mesh=pseudo_mesh
        )

    def _observe(self, photo: Photo, image: LoadedImage) -> Observation:
        """Checks what was passed with a photograph, whose pixels are `image`."""
        manifest = self.bundle.manifest
        if photo.crops is not None and "image" not in self.networks.reads:
            raise ValueError(
                f"crops came, but the networks of bundle {self.bundle.folder} do not read the "
                "image; leave crops out"
            )
        return observe(
            image,
            photo,
            known=body_keypoints(self.body),
            without_keypoints=network_keypoints(manifest.keypoint_set).set,
            crop=crop_convention(manifest.crop),
            default_focal_length=manifest.focal_length,
        )

    def fit(
        self,
        photographs: Sequence[PreparedPhoto],
        schedule: Schedule,
        adapt: _Adapt | None = None,
        *,
        pool: Executor | None = None,
    ) -> list[Recovery]:
        """The people of all photographs together: networks, adaptation, meshes.

        `adapt` takes the place of the fitter's `adapt_all` by the schedule. With a `pool`, its
        threads take a person each. A photograph's timings are its people's share of what all took.
        Raises RuntimeError where an engine fails, ValueError for a damaged bundle.
        """
        everybody = [person for photo in photographs for person in photo.people]
        work = partial(self._fit_people, adapt=adapt or partial(self._adapt, schedule=schedule))
        timings: dict[str, float] = {"networks": 0.0, "adaptation": 0.0}
        if pool is None or len(everybody) == 1:
            fitted = work(everybody, timings)
        else:
            own: list[dict[str, float]] = [{} for _ in everybody]
            spread = pool.map(lambda person, times: work([person], times), everybody, own)
            fitted = [person for (person,) in spread]
            timings = {stage: sum(times[stage] for times in own) for stage in timings}
        with _timed(timings, "mesh"):
            recoveries = self._collect(photographs, fitted)
        for recovery, photo in zip(recoveries, photographs, strict=True):
            share = len(photo.people) / len(everybody) if everybody else 1 / len(photographs)
            recovery.timings_ms.update({stage: ms * share for stage, ms in timings.items()})
        return recoveries

    def _fit_people(
        self, people: list[PersonInputs], timings: dict[str, float], *, adapt: _Adapt
    ) -> list[_WithPseudoMesh]:
        with _timed(timings, "networks"):
            evidence = run_networks_on_people(people, self.networks)
        with _timed(timings, "adaptation"):
            fitted = [_projectable(each) for each in adapt(evidence)]
            return list(zip(fitted, pseudo_meshes(evidence), strict=True))

    def predict(self, photo: Photo, detector: AnyDetector | None) -> tuple[Prediction, ...]:
        """What the networks say before any step of those who can be recovered."""
        if (
            photo.keypoints is None
            and photo.boxes is not None
            and "keypoints" in self.networks.reads
        ):
            raise ValueError(
                f"the networks of bundle {self.bundle.folder} read keypoints: pass them, also "
                "where there are boxes"
            )
        image = read_image(photo.image)
        seen = self._observe(self.finder.with_people(photo, image, detector), image)
        predictions = []
        for number, person in zip(seen.plausible.persons, seen.persons, strict=True):
            evidence = run_frozen_networks(seen.pixels, person, self.networks, self.bundle.manifest)
            crop = person_crop(seen.pixels, person)
            guess = self.fitter.first_guess(evidence)
            predictions.append(describe_prediction(number, person, crop, evidence, guess))
        return tuple(predictions)

    def _adapt(self, evidence: list[PersonEvidence], schedule: Schedule) -> list[_Fitted]:
        """Those whose keypoints are of one set together, as `PersonFitter.adapt_all` takes them."""
        fitted: dict[int, _Fitted] = {}
        for names in dict.fromkeys(each.observed.keypoint_set for each in evidence):
            rows = [row for row, e in enumerate(evidence) if e.observed.keypoint_set == names]
            results = self.fitter.adapt_all([evidence[row] for row in rows], schedule)
            fitted.update(zip(rows, results, strict=True))
        return [fitted[row] for row in range(len(evidence))]

    def _collect(
        self, photographs: Sequence[PreparedPhoto], fitted: list[_WithPseudoMesh]
    ) -> list[Recovery]:
        pose: Pose = partial(pose_arrays, self.body)
        if isinstance(self.fitter, PosingFitter):
            pose = self.fitter.pose
        adapted = [(each, mesh) for each, mesh in fitted if isinstance(each, AdaptedPerson)]
        bodies = place_people(
            [each for each, _ in adapted], [mesh for _, mesh in adapted], self.body, pose
        )
        results, placed = iter(fitted), 0
        recoveries = []
        for plausible, people, timings in photographs:
            found, skipped = [], list(plausible.skipped)
            for number, person in zip(plausible.persons, people, strict=True):
                result, _ = next(results)
                if isinstance(result, NonFiniteError):
                    skipped.append(SkippedPerson(number, str(result)))
                else:
                    found.append(FoundPerson(number, person.observed, result))
            own = bodies.of(slice(placed, placed + len(found)))
            placed += len(found)
            recoveries.append(
                collect_recovery(
                    plausible._replace(skipped=skipped),
                    found,
                    own,
                    body=self.body,
                    bundle=str(self.bundle.folder),
                    timings=dict(timings),
                    engine=self.networks.runs_on,
                    adaptation=self.fitter.runs_on,
                )
            )
        return recoveries


def _projectable(result: _Fitted) -> _Fitted:
    if isinstance(result, NonFiniteError):
        return result
    # NaN are the points that the body does not have; a point in the camera's plane is infinite.
    if np.isinf(result.keypoints_2d).any() or not np.isfinite(result.reprojection_px).all():
        return NonFiniteError("the body cannot be projected into the image")
    return result


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the milliseconds that the block takes to those of its stage."""
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + 1000 * (time.perf_counter() - start)
