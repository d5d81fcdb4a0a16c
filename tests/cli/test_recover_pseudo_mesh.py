"""`dualhmr recover --pseudo-mesh FILE` and `--auxiliary FILE`."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.synthetic_person import IMAGE, SyntheticPerson, synthetic_person
from numpy.typing import NDArray
from PIL import Image

from dualhmr import Recoverer, open_bundle
from dualhmr.cli import main


@pytest.fixture(scope="module")
def person() -> SyntheticPerson:
    return synthetic_person(3)


@pytest.fixture
def folder(tmp_path: Path, person: SyntheticPerson) -> Path:
    """Two photographs of one person, and their keypoints."""
    photographs = tmp_path / "photos"
    photographs.mkdir()
    for name in ("a", "b"):
        Image.fromarray(IMAGE).save(photographs / f"{name}.png")
        np.save(photographs / f"{name}.npy", person.keypoints)
    return photographs


def body(person: SyntheticPerson) -> dict[str, Any]:
    rotations = person.truth.rotations
    return {"global_orient": rotations[:1], "body_pose": rotations[1:], "betas": person.truth.betas}


def run(
    capsys: pytest.CaptureFixture[str], image: Path, out: Path, *options: object
) -> tuple[int, dict[str, Any]]:
    keypoints = image if image.is_dir() else image.with_suffix(".npy")
    arguments = [
        "recover",
        image,
        "--keypoints",
        keypoints,
        "--out",
        out,
        "--save",
        "npz",
        *options,
    ]
    status = main([*map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def vertices(folder: Path) -> NDArray[np.float32]:
    with np.load(folder / "recovery.npz") as arrays:
        return np.asarray(arrays["vertices"])


def test_one_photograph(
    folder: Path, tmp_path: Path, person: SyntheticPerson, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "person.npz", **body(person))
    status, report = run(
        capsys, folder / "a.png", tmp_path / "out", "--pseudo-mesh", tmp_path / "person.npz"
    )
    assert status == 0
    assert any("betas of a pseudo mesh" in note for note in report["notes"])
    expected = Recoverer().recover(IMAGE, person.keypoints, pseudo_mesh=person.truth)
    np.testing.assert_allclose(vertices(tmp_path / "out"), expected.vertices, atol=1e-5)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_each_photograph_has_its_own(
    folder: Path,
    tmp_path: Path,
    person: SyntheticPerson,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    other = synthetic_person(4)
    if kind == "file":
        tracks = {f"frames/{n}.jpg": {"smpl": [body(p)]} for n, p in (("b", other), ("a", person))}
        place = tmp_path / "tracks.pkl"
        place.write_bytes(pickle.dumps(tracks))
    else:
        place = tmp_path / "bodies"
        place.mkdir()
        np.savez(place / "a.npz", **body(person))
        np.savez(place / "b.png.npz", **body(other))
    status, _ = run(capsys, folder, tmp_path / "out", "--pseudo-mesh", place, "--max-steps", 3)
    assert status == 0
    for name, mesh in (("a", person.truth), ("b", other.truth)):
        expected = Recoverer().recover(IMAGE, person.keypoints, pseudo_mesh=mesh, max_steps=3)
        np.testing.assert_allclose(vertices(tmp_path / "out" / name), expected.vertices, atol=1e-5)


def test_a_photograph_without_one_is_an_error_of_its_own(
    folder: Path, tmp_path: Path, person: SyntheticPerson, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "bodies"
    place.mkdir()
    np.savez(place / "a.npz", **body(person))
    status, report = run(capsys, folder, tmp_path / "out", "--pseudo-mesh", place, "--max-steps", 1)
    assert status == 1
    assert "error" not in report["images"]["a.png"]
    assert "no b.png.npz, b.png.pkl, b.png.npy, b.npz" in report["images"]["b.png"]["error"]


def test_an_auxiliary_of_ones_own(
    folder: Path, tmp_path: Path, person: SyntheticPerson, capsys: pytest.CaptureFixture[str]
) -> None:
    auxiliary = open_bundle().path("auxiliary.onnx")
    status, _ = run(capsys, folder / "a.png", tmp_path / "out", "--auxiliary", auxiliary)
    assert status == 0
    expected = Recoverer().recover(IMAGE, person.keypoints)
    np.testing.assert_allclose(vertices(tmp_path / "out"), expected.vertices, atol=1e-5)
