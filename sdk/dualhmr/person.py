"""One person: what is observed, the evidence from the frozen networks, and the adapted body."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import Array, library_of, to_numpy
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
    return vertices + translation[:, None], joints + translation[:, None]


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


def network_inputs(
    image: npt.NDArray[np.uint8],
    observed: ObservedPerson,
    *,
    target: KeypointSet,
    reads: Collection[str],
) -> dict[str, npt.NDArray[Any]]:
    """The inputs named in `reads` for one person of `image` (H, W, 3), by name.

    `keypoints` are in the order of the set `target`, which the networks were trained with.
    `box_info` is always included because heads read it.
    """
    view = observed.view
    inputs: dict[str, npt.NDArray[Any]] = {"box_info": box_info(view)}
    if "keypoints" in reads:
        inputs["keypoints"] = keypoints_input(
            observed.crop_keypoints,
            observed.confidence,
            source=observed.keypoint_set,
            target=target,
        )
    if "image" in reads:
        inputs["image"] = person_crop(image, observed)[None]
    return inputs


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


def run_frozen_networks(
    image: npt.NDArray[np.uint8],
    observed: ObservedPerson,
    networks: FrozenNetworks,
    manifest: Manifest,
    *,
    pseudo_mesh: SMPLParameters | None = None,
) -> PersonEvidence:
    """Runs both frozen networks, which `manifest` describes, on one person of `image` (H, W, 3).

    With a `pseudo_mesh` the auxiliary network is not run.
    """
    (evidence,) = run_networks_on_people(image, [observed], networks, manifest, [pseudo_mesh])
    return evidence


def run_networks_on_people(
    image: npt.NDArray[np.uint8],
    people: Sequence[ObservedPerson],
    networks: FrozenNetworks,
    manifest: Manifest,
    pseudo_meshes: Sequence[SMPLParameters | None],
) -> list[PersonEvidence]:
    """As `run_frozen_networks` for each person, in batches of the sizes that `networks` names."""
    keypoints = network_keypoints(manifest.keypoint_set).set
    backbone, auxiliary = networks.backbone.reads, networks.auxiliary.reads
    inputs = [
        network_inputs(
            image, each, target=keypoints, reads={*backbone, *(() if mesh else auxiliary)}
        )
        for each, mesh in zip(people, pseudo_meshes, strict=True)
    ]
    features = _in_batches(networks.backbone, inputs, networks.batch_sizes)
    unknown = [person for person, mesh in enumerate(pseudo_meshes) if mesh is None]
    if "features" in auxiliary:
        for person in unknown:
            inputs[person]["features"] = to_numpy(features[person]["features"])
    bodies = _in_batches(
        networks.auxiliary, [inputs[person] for person in unknown], networks.batch_sizes
    )
    predicted = dict(zip(unknown, bodies, strict=True))
    evidence = []
    for person, mesh in enumerate(pseudo_meshes):
        if mesh is not None:
            body: Arrays = {"rotations": mesh.rotations[None], "betas": mesh.betas[None]}
        else:
            body = predicted[person]
        parts = (features[person]["features"], body["rotations"], body["betas"])
        evidence.append(PersonEvidence(people[person], inputs[person], *parts))
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
