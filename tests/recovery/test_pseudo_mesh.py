"""A pseudo mesh from anywhere: what it does to the result, and what may be passed."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.onnx_bundles import rename_output
from helpers.small_bundle import IMAGE_SPEC, write_small_bundle
from helpers.synthetic_person import FACING, IMAGE, distance_mm, synthetic_person
from numpy.typing import NDArray

from dualhmr import Box, Recoverer, SMPLParameters, open_bundle, recover
from dualhmr.body.parameters import rotvec_to_matrix
from dualhmr.keypoints import Keypoints

Photo = NDArray[np.uint8]
NOISE = (0.0, 0.02, 0.05, 0.10)
PERSONS = range(4)


@pytest.fixture(scope="module")
def some_body() -> SMPLParameters:
    """A body that has nothing to do with any photograph here."""
    vectors = 0.5 * np.random.default_rng(9).normal(size=(24, 3))
    rotations = rotvec_to_matrix(vectors)
    rotations[0] = FACING
    return SMPLParameters(rotations, np.zeros(10))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def image_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "image"
    return write_small_bundle(folder, main=IMAGE_SPEC, auxiliary=IMAGE_SPEC)


@pytest.mark.parametrize("adaptation", ["torch", "onnx"])
def test_a_perfect_pseudo_mesh_pulls_the_result_to_the_truth(adaptation: str) -> None:
    """At every level of noise of the keypoints, for everybody; and less noise is always better."""
    recoverer = Recoverer(adaptation=adaptation)
    usual, perfect = np.zeros((2, len(NOISE), len(PERSONS)))
    for level, noise in enumerate(NOISE):
        for number in PERSONS:
            person = synthetic_person(number)
            seen = person.seen(noise, seed=100 + number)
            usual[level, number] = distance_mm(recoverer.recover(IMAGE, seen), person.truth)
            with_mesh = recoverer.recover(IMAGE, seen, pseudo_mesh=person.truth)
            perfect[level, number] = distance_mm(with_mesh, person.truth)
    assert (perfect < usual).all()
    assert (np.diff(perfect.mean(1)) > 0).all()
    # Where keypoints are good, half of the distance that is left.
    assert perfect[0].mean() < 0.7 * usual[0].mean()


def test_more_steps_come_nearer_to_a_perfect_pseudo_mesh(recoverer: Recoverer) -> None:
    person = synthetic_person(0)
    distances = [
        distance_mm(
            recoverer.recover(IMAGE, person.keypoints, pseudo_mesh=person.truth, max_steps=steps),
            person.truth,
        )
        for steps in (0, 5, 14, 60)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 30


def test_a_wrong_pseudo_mesh_is_outweighed_as_the_weights_say(some_body: SMPLParameters) -> None:
    """The more keypoints weigh, the nearer is the result to them, and the farther from the mesh."""
    bundle = open_bundle()
    for number in PERSONS[:1]:
        person = synthetic_person(number)
        reprojection, from_mesh = [], []
        for weight in (0.1, 1.0, 10.0, 100.0):
            weights = replace(bundle.manifest.weights, keypoints_2d=weight)
            weighted = replace(bundle, manifest=replace(bundle.manifest, weights=weights))
            recovery = Recoverer(weighted, adaptation="torch").recover(
                IMAGE, person.keypoints, pseudo_mesh=some_body, schedule="paper", max_steps=100
            )
            reprojection.append(float(recovery.reprojection_px[0, 1]))
            from_mesh.append(distance_mm(recovery, some_body))
        assert reprojection == sorted(reprojection, reverse=True)
        assert from_mesh == sorted(from_mesh)
        assert reprojection[-1] < 0.2 * reprojection[0]


def test_what_the_auxiliary_network_says_changes_nothing(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints
) -> None:
    (seen,) = recoverer.predict(photo, keypoints)
    usual = recoverer.recover(photo, keypoints)
    given = recoverer.recover(photo, keypoints, pseudo_mesh=seen.pseudo_mesh)
    np.testing.assert_allclose(given.vertices, usual.vertices, atol=1e-6)
    auxiliary = recoverer.bundle.path("auxiliary.onnx")
    from_file = Recoverer(auxiliary=auxiliary).recover(photo, keypoints)
    np.testing.assert_array_equal(from_file.vertices, usual.vertices)
    assert given.loss_history[0] == pytest.approx(usual.loss_history[0])


def test_one_person_with_a_pseudo_mesh_and_one_without(
    recoverer: Recoverer, some_body: SMPLParameters
) -> None:
    people = [synthetic_person(number) for number in (0, 1)]
    both = np.stack([person.keypoints for person in people])
    among = recoverer.recover(IMAGE, both, pseudo_mesh=[None, some_body])
    first = recoverer.recover(IMAGE, both[0])
    second = recoverer.recover(IMAGE, both[1], pseudo_mesh=some_body)
    np.testing.assert_allclose(among[0].vertices, first.vertices, atol=1e-5)
    np.testing.assert_allclose(among[1].vertices, second.vertices, atol=1e-5)


def test_the_bundles_own_network_is_not_run(
    image_bundle: Path, some_body: SMPLParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, box = synthetic_person(2), Box((240, 320), 600)
    by_mesh = recover(
        IMAGE, person.keypoints, boxes=box, bundle=image_bundle, pseudo_mesh=some_body
    )
    by_function = recover(
        IMAGE, person.keypoints, boxes=box, bundle=image_bundle, auxiliary=lambda _: some_body
    )
    np.testing.assert_array_equal(by_function.vertices, by_mesh.vertices)
    recoverer = Recoverer(image_bundle)

    pipeline = recoverer._pipeline
    failing = replace(pipeline.networks, auxiliary=_Failing())
    monkeypatch.setattr(recoverer, "_pipeline", replace(pipeline, networks=failing))
    recoverer.recover(IMAGE, person.keypoints, pseudo_mesh=some_body, max_steps=0)


class _Failing:
    reads = ("image",)
    runs_on = "nothing"

    def __call__(self, _inputs: object) -> dict[str, NDArray[np.float32]]:
        raise AssertionError("the auxiliary network runs")


def test_a_function_sees_the_crop(
    image_bundle: Path, photo: Photo, keypoints: Keypoints, some_body: SMPLParameters
) -> None:
    crops = []

    def auxiliary(crop: NDArray[np.uint8]) -> SMPLParameters:
        crops.append(crop)
        return some_body

    recoverer = Recoverer(auxiliary=auxiliary)
    (seen,) = recoverer.predict(photo, keypoints)
    (crop,) = crops
    assert (crop.shape, crop.dtype) == ((256, 192, 3), np.uint8)
    np.testing.assert_array_equal(crop, seen.crop)
    assert crop.std() > 10
    np.testing.assert_array_equal(seen.pseudo_mesh.rotations, some_body.rotations)
    ready = np.full((256, 192, 3), 7, np.uint8)
    Recoverer(image_bundle, auxiliary=auxiliary).predict(
        photo, boxes=Box((200, 200), 300), crops=ready
    )
    np.testing.assert_array_equal(crops[-1], ready)


@pytest.mark.parametrize(
    ("pseudo_mesh", "message"),
    [
        ("mesh.npz", "pseudo_mesh is 'mesh.npz' of type str, expected SMPLParameters, or a list"),
        ([np.eye(3)], "pseudo_mesh of person 0 is array"),
        ([None, None], "2 pseudo meshes came with 1 person(s)"),
        (
            SMPLParameters(np.zeros(72), np.zeros(16)),
            "pseudo_mesh of person 0 has 16 betas, but the bundle's body has 10",
        ),
    ],
)
def test_pseudo_meshes_that_do_not_fit(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, pseudo_mesh: object, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        recoverer.recover(photo, keypoints, pseudo_mesh=pseudo_mesh)  # type: ignore[arg-type]


def test_a_schedule_that_would_ignore_it_is_an_error(
    recoverer: Recoverer, photo: Photo, keypoints: Keypoints, some_body: SMPLParameters
) -> None:
    with pytest.raises(ValueError, match="'eft' fits the keypoints alone and would ignore"):
        recoverer.recover(photo, keypoints, pseudo_mesh=some_body, schedule="eft")
    with pytest.raises(ValueError, match='use schedule="paper"'):
        Recoverer(auxiliary=lambda _: some_body).recover(photo, keypoints, schedule="eft")
    recoverer.recover(photo, keypoints, pseudo_mesh=some_body, schedule="release", max_steps=1)


def test_auxiliaries_that_are_none(photo: Photo, keypoints: Keypoints, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="auxiliary is 3 of type int, expected a function from a"):
        Recoverer(auxiliary=3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no ONNX file at"):
        Recoverer(auxiliary=tmp_path / "none.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"damaged\.onnx is damaged or not a graph"):
        Recoverer(auxiliary=tmp_path / "damaged.onnx")
    other = Recoverer(auxiliary=lambda crop: crop.mean())  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"lambda.*expected SMPLParameters"):
        other.recover(photo, keypoints)


def test_an_onnx_file_with_other_outputs(tmp_path: Path, image_bundle: Path) -> None:
    model = onnx.load(image_bundle / "auxiliary.onnx")
    rename_output(model, "betas", "shape")
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx lacks the outputs betas; expected what"):
        Recoverer(auxiliary=tmp_path / "other.onnx")


def test_an_onnx_file_whose_matrices_are_no_rotations(
    tmp_path: Path, image_bundle: Path, photo: Photo, keypoints: Keypoints
) -> None:
    model = onnx.load(image_bundle / "auxiliary.onnx")
    rename_output(model, "rotations", "before")
    model.graph.node.append(onnx.helper.make_node("Add", ["before", "before"], ["rotations"]))
    model.graph.output[0].name = "rotations"
    onnx.save(model, tmp_path / "double.onnx")
    recoverer = Recoverer(auxiliary=tmp_path / "double.onnx")
    with pytest.raises(ValueError, match=r"double\.onnx: the matrix of joint 0 is no rotation"):
        recoverer.recover(photo, keypoints)
