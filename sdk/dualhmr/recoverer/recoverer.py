"""`Recoverer`: photographs and their persons' 2D keypoints -> `Recovery`.

Everything that a user passes is checked before a network runs.
"""

import os
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.files import ExtraJoints
from dualhmr.body.parameters import SMPLParameters
from dualhmr.bundle import Bundle
from dualhmr.detection import AnyDetector, Detections
from dualhmr.engines import AUTO, Auxiliary, EngineOptions
from dualhmr.images import read_image
from dualhmr.keypoints import MIN_CONFIDENCE, KeypointSet
from dualhmr.recoverer.arguments import chosen_schedule
from dualhmr.recoverer.opening import pipeline_opener
from dualhmr.recoverer.photo import Item, Photo
from dualhmr.recoverer.pipeline import Pipeline
from dualhmr.recoverer.prediction import Prediction
from dualhmr.recoverer.streaming import (
    PhotoStream,
    Results,
    all_recovered,
    check_iterable,
    photos_of,
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
        auxiliary: "str | os.PathLike[str] | Auxiliary | None" = None,
        extra_joints: ExtraJoints | None = None,
        detector: AnyDetector | None = None,
    ) -> None:
        """Opens a bundle (None: the default one in the package) and the body that it needs.

        Args:
            bundle: The folder of a bundle, or an opened bundle.
            body: A body file or a body. Bundles of SMPL networks need it, because SMPL's license
                does not allow us to ship it.
            device: "cpu" (default), "cuda", "cuda:1", "auto" for a GPU where PyTorch sees one,
                or a torch.device.
            backend: Runs the frozen networks: "onnxruntime", "tensorrt", "torch", or "auto", the
                fastest that works here. The attribute `backend` is the chosen one, and `engine`
                names the library and device that it runs on.
            adaptation: "numba" adapts on a CPU, "torch" also on a GPU, both by any schedule. "onnx"
                needs neither library and runs the bundle's graph, which follows the one schedule it
                was exported for; so does "tensorrt" on a GPU, for bundles with step graphs. "auto"
                is the first of "numba" (on a CPU), "torch", "tensorrt" and "onnx" that is installed
                and that the bundle has graphs for. The attribute `adaptation` is the
                chosen one.
            options: Settings of the backends.
            scope: "head" adapts the regressor head, "all" also the backbone (in PyTorch only).
            auxiliary: Predicts the pseudo mesh in place of the bundle's auxiliary network: a
                function from a crop (256, 192, 3) uint8 RGB to `SMPLParameters`, or the path of an
                ONNX file that reads and gives what a bundle's `auxiliary.onnx` does.
            extra_joints: SPIN's `J_regressor_extra.npy`, or its array (9, V): joints that data sets
                annotate and SMPL lacks. Networks of SPIN's family then compare them, as their
                release does, and keypoints of these names count. None: the bundle's, if it has any.
            detector: Finds the people of photographs that come without keypoints: "movenet" (None),
                another of `dualhmr.open_detector`, or a callable. It is opened when it is needed.

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
            "auxiliary": auxiliary,
            "extra_joints": extra_joints,
            "detector": detector,
        }
        self._opener = pipeline_opener(**self._arguments)
        self.bundle, self.body = self._opener.bundle, self._opener.body
        self.adaptation = self._opener.adaptation
        self._pipeline = self._opener.open()
        self.backend = self._pipeline.networks.backend
        self.engine = self._pipeline.networks.runs_on

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as its arguments: a process that is handed one opens bundle and body anew."""
        return partial(Recoverer, **self._arguments), ()

    def recover(
        self,
        image: Any,
        keypoints: Any = None,
        *,
        detector: AnyDetector | None = None,
        boxes: Any = None,
        crops: Any = None,
        pseudo_mesh: SMPLParameters | Sequence[SMPLParameters | None] | None = None,
        scores: Any = None,
        score_scale: float = 1.0,
        min_confidence: float = MIN_CONFIDENCE,
        keypoint_set: str | KeypointSet | None = None,
        schedule: str | Schedule | None = None,
        max_steps: int | None = None,
        iterate: str | None = None,
        focal_length: float | None = None,
        principal_point: tuple[float, float] | None = None,
    ) -> Recovery:
        """Recovers the persons in one photograph; see `dualhmr.recover` for the arguments."""
        photo = Photo(
            image,
            keypoints,
            boxes=boxes,
            crops=crops,
            pseudo_mesh=pseudo_mesh,
            scores=scores,
            score_scale=score_scale,
            min_confidence=min_confidence,
            keypoint_set=keypoint_set,
            focal_length=focal_length,
            principal_point=principal_point,
        )
        chosen = chosen_schedule(self.bundle, schedule, max_steps, iterate)
        prepared = self._pipeline.prepare(photo, chosen, detector)
        (recovery,) = self._pipeline.fit([prepared], chosen)
        return recovery

    def recover_batch(
        self,
        images: Sequence[Any],
        keypoints: Sequence[Any] | None = None,
        *,
        detector: AnyDetector | None = None,
        boxes: Sequence[Any] | None = None,
        scores: Sequence[Any] | None = None,
        score_scale: float = 1.0,
        min_confidence: float = MIN_CONFIDENCE,
        keypoint_set: str | KeypointSet | None = None,
        schedule: str | Schedule | None = None,
        max_steps: int | None = None,
        iterate: str | None = None,
        focal_length: float | None = None,
        principal_point: tuple[float, float] | None = None,
    ) -> list[Recovery]:
        """As `recover` for each of N images, faster: on all cores, on a GPU in groups of people.

        Args:
            images: What `recover` takes, N times. For crops, pseudo meshes or a camera of each
                image, pass `Photo`s to `stream`.
            keypoints: For each image what `recover` takes; None: a detector finds people.
            boxes: For each image what `recover` takes.
            scores: For each image what `recover` takes.

        The other arguments are for all images; `dualhmr.recover` describes them.

        Returns:
            N recoveries in the order of the images.

        Raises:
            FileNotFoundError, TypeError, ValueError, ImportError, RuntimeError: As `recover`, for
                the first image that cannot be used; `stream` goes on instead.
        """
        photos = photos_of(
            images,
            keypoints,
            boxes,
            scores,
            score_scale=score_scale,
            min_confidence=min_confidence,
            keypoint_set=keypoint_set,
            focal_length=focal_length,
            principal_point=principal_point,
        )
        results = self.stream(
            photos, detector=detector, schedule=schedule, max_steps=max_steps, iterate=iterate
        )
        return all_recovered(results)

    def stream(
        self,
        items: Iterable[Item],
        *,
        detector: AnyDetector | None = None,
        schedule: str | Schedule | None = None,
        max_steps: int | None = None,
        iterate: str | None = None,
    ) -> Results:
        """Recovers from any number of photographs, also from a source that never ends.

        Threads read photographs, find people and crop them a few items ahead of the results, so
        memory is bounded. On a CPU each core has a photograph of its own; on a GPU the people of
        all photographs that are ready are adapted together. Results are those of `recover`, but
        for rounding.

        Args:
            items: Each an image, a `Photo` with what is known of it, or a function without
                arguments that gives either, which a thread calls when it is needed: for keypoints
                from a file or images from the network. One thread asks for the items.

        The other arguments are those of `recover`. Functions of the user's for detectors and
        pseudo meshes are called by one thread at a time.

        Yields, in the order of the items and each as soon as it is there, its `Recovery`, or a
        `FailedPhoto` that says why there is none. An error of `items` itself is raised after the
        results of the items before it. Closing the iterator ends the threads.

        Raises:
            TypeError, ValueError: At once, for arguments that are for all items.
        """
        check_iterable(items)
        pipeline, opener = self._for_threads, self._opener
        if detector is not None:
            pipeline.finder.open(detector, None)
        chosen = chosen_schedule(self.bundle, schedule, max_steps, iterate)
        stream = PhotoStream(
            pipeline, chosen, detector, threads=opener.threads, grouped=not opener.spreads_people
        )
        return stream.recover(items)

    @cached_property
    def _for_threads(self) -> Pipeline:
        return self._opener.open_for_threads(self._pipeline)

    def predict(
        self,
        image: Any,
        keypoints: Any = None,
        *,
        detector: AnyDetector | None = None,
        boxes: Any = None,
        crops: Any = None,
        scores: Any = None,
        score_scale: float = 1.0,
        min_confidence: float = MIN_CONFIDENCE,
        keypoint_set: str | KeypointSet | None = None,
        focal_length: float | None = None,
        principal_point: tuple[float, float] | None = None,
    ) -> tuple[Prediction, ...]:
        """What the networks say of the persons in one photograph, before any step.

        The arguments are those of `recover`. Networks that read the image need no keypoints where
        there are boxes; networks that read keypoints do. Without both, the detector finds people.

        Returns:
            One `Prediction` for each person who can be recovered, in the order of the input;
            `Recovery.skipped` of `recover` says why others cannot.

        Raises:
            FileNotFoundError, TypeError, ValueError: An argument cannot be used.
            RuntimeError: An engine fails.
        """
        photo = Photo(
            image,
            keypoints,
            boxes=boxes,
            crops=crops,
            scores=scores,
            score_scale=score_scale,
            min_confidence=min_confidence,
            keypoint_set=keypoint_set,
            focal_length=focal_length,
            principal_point=principal_point,
        )
        return self._pipeline.predict(photo, detector)

    def detect(
        self,
        image: Any,
        *,
        detector: AnyDetector | None = None,
        keypoint_set: str | KeypointSet | None = None,
    ) -> Detections:
        """The people that `recover` finds in one photograph; see `dualhmr.recover`.

        Raises:
            FileNotFoundError, TypeError, ValueError: An argument cannot be used, or the detector's
                result.
            ImportError, RuntimeError: The detector is not available, or fails.
        """
        found = self._pipeline.finder.open(detector, keypoint_set)
        return found(read_image(image).pixels)
