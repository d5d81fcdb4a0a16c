"""One person: what is observed, the evidence from the frozen networks, and the adapted body."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import Array, library_of
from dualhmr.body.arrays import BodyArrays
from dualhmr.body.parameters import SMPLParameters
from dualhmr.body.posing import pose_arrays
from dualhmr.boxes import Box
from dualhmr.bundle import Manifest
from dualhmr.camera import View, box_info, image_to_crop, keypoint_box
from dualhmr.crop import CropConvention, crop_convention, crop_person
from dualhmr.engines import DLPackArray, FrozenNetworks
from dualhmr.engines.frozen_network import Arrays
from dualhmr.groups import filled_up, group_sizes
from dualhmr.keypoints import Keypoints, KeypointSet, network_keypoints

FloatArray = npt.NDArray[np.float32]


class StepTrace(NamedTuple):
    """One person's parameters at the start and after each of S - 1 steps."""

    rotations: FloatArray
    """(S, 24, 3, 3)."""
    betas: FloatArray
    """(S, 10)."""
    translation: FloatArray
    """(S, 3) metres."""


def place_bodies(
    body: BodyArrays, rotations: FloatArray, betas: FloatArray, translation: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Vertices (N, V, 3) and joints (N, 24, 3) in the camera frame, metres.

    `rotations` (N, 24, 3, 3), `betas` (N, B), `translation` (N, 3) metres.
    """
    vertices, joints = pose_arrays(body, rotations, betas)
    vertices += translation[:, None]
    joints += translation[:, None]
    return vertices, joints


class ObservedPerson(NamedTuple):
    """One person's keypoints from the user and the camera; arrays have a person axis of 1."""

    keypoint_set: KeypointSet
    xy: FloatArray
    """(1, K, 2) image pixels."""
    confidence: FloatArray
    """(1, K)."""
    view: View
    crop: CropConvention = crop_convention("dualhmr")
    """How the networks see the person."""
    ready_crop: npt.NDArray[np.uint8] | None = None
    """(256, 192, 3) RGB, where the user has made it; None: it is made of the image."""

    @property
    def crop_keypoints(self) -> FloatArray:
        """(1, K, 2) normalised crop coordinates."""
        return image_to_crop(self.xy, self.view, self.crop.size)


class PersonEvidence(NamedTuple):
    """All that stays fixed while the head is adapted to one person."""

    observed: ObservedPerson
    inputs: dict[str, npt.NDArray[np.generic]]
    """Of the networks, by name."""
    features: DLPackArray
    """(1, F) of the backbone."""
    rotations: DLPackArray
    """(1, 24, 3, 3) of the pseudo mesh."""
    betas: DLPackArray
    """(1, 10) of the pseudo mesh."""


class FirstGuess(NamedTuple):
    """What the main network says of one person, before any step."""

    rotations: FloatArray
    """(24, 3, 3)."""
    betas: FloatArray
    camera: FloatArray
    """(3,) scale, x, y of the crop, as the head regresses them."""
    translation: FloatArray
    """(3,) metres."""
    focal_length: float
    """Image pixels."""
    principal_point: FloatArray
    """(2,) image pixels."""


class PersonIterates(NamedTuple):
    """One person at the start and after each of S - 1 steps."""

    losses: tuple[float, ...]
    """S losses, of which the lowest is the best step."""
    trace: StepTrace
    keypoints_2d: FloatArray
    """(S, K, 2) image pixels, in the order of the user's, NaN if the body has no such point."""
    focal_length: FloatArray
    """(S,) image pixels."""
    principal_point: FloatArray
    """(S, 2) image pixels."""
    best_step: int
    stop_reason: str


class AdaptedPerson(NamedTuple):
    """The best body for one person, and how it was found."""

    rotations: FloatArray
    """(24, 3, 3)."""
    betas: FloatArray
    translation: FloatArray
    """(3,) metres."""
    focal_length: float
    principal_point: FloatArray
    """(2,)."""
    keypoints_2d: FloatArray
    """(K, 2) image pixels, NaN if the body has no such point."""
    reprojection_px: tuple[float, float]
    """Mean distance to the observed keypoints before and after adaptation."""
    iterates: PersonIterates


def observe_person(
    keypoints: Keypoints,
    person: int,
    focal_length: float,
    principal_point: tuple[float, float],
    *,
    crop: str = "dualhmr",
    box: Box | None = None,
    ready_crop: npt.NDArray[np.uint8] | None = None,
) -> ObservedPerson:
    """One person's keypoints, `box` or the box around them, and the image's camera.

    `crop` is one of `CROP_CONVENTIONS`, that of the networks.
    """
    convention = crop_convention(crop)
    xy = keypoints.xy[person : person + 1]
    confidence = keypoints.confidence[person : person + 1]
    if box is None:
        center, height = keypoint_box(
            xy, confidence, size=convention.size, margin=convention.margin
        )
    else:
        center, height = np.array([box.center], np.float32), np.array([box.height], np.float32)
    camera = np.array([focal_length], np.float32), np.array([principal_point], np.float32)
    view = View(center, height, *camera)
    return ObservedPerson(keypoints.set, xy, confidence, view, convention, ready_crop)


def best_of(iterates: PersonIterates, observed: ObservedPerson) -> AdaptedPerson:
    """The best iterate, and the distances of it and of the first to the observed keypoints."""
    best, trace = iterates.best_step, iterates.trace
    keypoints_2d = iterates.keypoints_2d
    return AdaptedPerson(
        rotations=trace.rotations[best],
        betas=trace.betas[best],
        translation=trace.translation[best],
        focal_length=float(iterates.focal_length[best]),
        principal_point=iterates.principal_point[best],
        keypoints_2d=keypoints_2d[best],
        reprojection_px=(
            _distance(observed, keypoints_2d[0]),
            _distance(observed, keypoints_2d[best]),
        ),
        iterates=iterates,
    )


def _distance(observed: ObservedPerson, keypoints_2d: FloatArray) -> float:
    """Mean distance in pixels to the labelled keypoints that the body has."""
    counted = (observed.confidence[0] > 0) & np.isfinite(keypoints_2d).all(-1)
    return float(np.linalg.norm(keypoints_2d - observed.xy[0], axis=-1)[counted].mean())


def person_crop(image: npt.NDArray[np.uint8], observed: ObservedPerson) -> npt.NDArray[np.uint8]:
    """The user's crop, or that of the person's box in `image`: (256, 192, 3) for most networks."""
    if observed.ready_crop is not None:
        return observed.ready_crop
    view, convention = observed.view, observed.crop.name
    return crop_person(image, view.box_center[0], float(view.box_height[0]), convention=convention)


def keypoints_input(
    keypoints: Array, confidence: Array, *, source: KeypointSet, target: KeypointSet
) -> Array:
    """Keypoints of one set as a network of another set reads them: (N, K', 3).

    `keypoints` (N, K, 2) in normalised crop coordinates and `confidence` (N, K) are of `source`.
    Points are matched by name. Those that `source` lacks, or that are missing, are zero. NumPy or
    PyTorch.

    Raises ValueError if the shapes are not those of `source`.
    """
    if confidence.shape[1:] != (len(source),) or keypoints.shape != (*confidence.shape, 2):
        raise ValueError(
            f"keypoints {tuple(keypoints.shape)} with confidence {tuple(confidence.shape)}; "
            f"{source.name} needs (N, {len(source)}, 2) and (N, {len(source)})"
        )
    library = library_of(keypoints)
    xy = library.where((confidence <= 0)[..., None], 0.0, keypoints)
    labelled = library.concatenate([xy, confidence[..., None]], -1)
    absent = library.zeros_like(labelled[:, :1])
    position = {name: index for index, name in enumerate(source.names)}
    order = [position.get(name, len(source)) for name in target.names]
    return library.concatenate([labelled, absent], 1)[:, order]


class PersonInputs(NamedTuple):
    """One person, and all that the frozen networks read of them: the image is no longer needed."""

    observed: ObservedPerson
    arrays: dict[str, npt.NDArray[Any]]
    """By name, with a person axis of 1."""
    pseudo_mesh: SMPLParameters | None = None
    """Takes the place of what the auxiliary network says, which is not run then."""


def person_inputs(
    image: npt.NDArray[np.uint8],
    observed: ObservedPerson,
    manifest: Manifest,
    *,
    reads: Collection[str],
    pseudo_mesh: SMPLParameters | None = None,
) -> PersonInputs:
    """What networks that `manifest` describes read of one person of `image` (H, W, 3).

    It is what `reads` names, keypoints in the order of the set that the networks were trained with;
    and `box_info`, because heads read it.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"box_info": box_info(observed.view)}
    if "keypoints" in reads:
        arrays["keypoints"] = keypoints_input(
            observed.crop_keypoints,
            observed.confidence,
            source=observed.keypoint_set,
            target=network_keypoints(manifest.keypoint_set).set,
        )
    if "image" in reads:
        arrays["image"] = person_crop(image, observed)[None]
    return PersonInputs(observed, arrays, pseudo_mesh)


def run_frozen_networks(
    image: npt.NDArray[np.uint8],
    observed: ObservedPerson,
    networks: FrozenNetworks,
    manifest: Manifest,
) -> PersonEvidence:
    """Runs both frozen networks, which `manifest` describes, on one person of `image` (H, W, 3)."""
    person = person_inputs(image, observed, manifest, reads=networks.reads)
    (evidence,) = run_networks_on_people([person], networks)
    return evidence


def run_networks_on_people(
    people: Sequence[PersonInputs], networks: FrozenNetworks
) -> list[PersonEvidence]:
    """Both frozen networks on each person, in batches of the sizes that `networks` names."""
    inputs: list[dict[str, Any]] = [dict(person.arrays) for person in people]
    features = _in_batches(networks.backbone, inputs, networks.batch_sizes)
    unknown = [index for index, person in enumerate(people) if person.pseudo_mesh is None]
    if "features" in networks.auxiliary.reads:
        for index in unknown:
            inputs[index]["features"] = features[index]["features"]
    predicted = _in_batches(
        networks.auxiliary, [inputs[index] for index in unknown], networks.batch_sizes
    )
    bodies = dict(zip(unknown, predicted, strict=True))
    evidence = []
    for index, (observed, _, mesh) in enumerate(people):
        if mesh is not None:
            body: Arrays = {"rotations": mesh.rotations[None], "betas": mesh.betas[None]}
        else:
            body = bodies[index]
        parts = (features[index]["features"], body["rotations"], body["betas"])
        evidence.append(PersonEvidence(observed, inputs[index], *parts))
    return evidence


def _in_batches(
    network: Callable[[Mapping[str, npt.NDArray[Any]]], Arrays],
    inputs: Sequence[dict[str, Any]],
    sizes: Sequence[int],
) -> list[Arrays]:
    """A network's results for each person, of inputs with a person axis of 1."""
    results: list[Arrays] = []
    for count, size in group_sizes(len(inputs), sizes):
        group = inputs[len(results) : len(results) + count]
        if size == 1:
            results.append(network(group[0]))
            continue
        outputs: dict[str, Any] = network(
            {name: filled_up([each[name] for each in group], size) for name in group[0]}
        )
        results += [
            {name: array[row : row + 1] for name, array in outputs.items()} for row in range(count)
        ]
    return results
