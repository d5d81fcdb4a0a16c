import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from helpers.solids import sphere

from dualhmr.rendering import write_mesh

SOLID = sphere(detail=2)
PERSONS = np.stack([sphere((k, 0.5, 4 + k), detail=2).vertices for k in range(3)])
COUNT = len(SOLID.vertices)
SUFFIXES = [".glb", ".obj", ".ply"]


def read(path: Path) -> list[Any]:
    """Return the meshes in a file as trimesh reads them, persons in order."""
    options = {"split_object": True, "maintain_order": True} if path.suffix == ".obj" else {}
    loaded = trimesh.load(path, force="scene", process=False, **options)
    return [loaded.geometry[name] for name in sorted(loaded.geometry)]


def joined(meshes: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, triangles' corners, and normals, of all meshes."""
    return (
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles for mesh in meshes]),
        np.concatenate([mesh.vertex_normals for mesh in meshes]),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_hold_the_vertices_in_the_viewers_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bodies{suffix}"
    write_mesh(path, PERSONS, SOLID.faces)
    vertices, triangles, normals = joined(read(path))
    turned = PERSONS * (1, -1, -1)
    np.testing.assert_allclose(vertices, turned.reshape(-1, 3), atol=1e-5)
    expected = turned[:, SOLID.faces].reshape(-1, 3, 3)
    np.testing.assert_allclose(triangles, expected, atol=1e-5)
    radial = np.tile(SOLID.vertices * (1, -1, -1), (3, 1))
    np.testing.assert_allclose(normals, radial, atol=0.05)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_faces_still_look_outward(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bodies{suffix}"
    write_mesh(path, PERSONS[:1], SOLID.faces)
    (mesh,) = read(path)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.1)


def test_each_person_is_an_object(tmp_path: Path) -> None:
    write_mesh(tmp_path / "bodies.glb", PERSONS, SOLID.faces)
    scene = trimesh.load(tmp_path / "bodies.glb", force="scene", process=False)
    names = {"person_0", "person_1", "person_2"}
    assert set(scene.geometry) == names
    assert names <= set(scene.graph.nodes)
    write_mesh(tmp_path / "bodies.obj", PERSONS, SOLID.faces)
    lines = (tmp_path / "bodies.obj").read_text().splitlines()
    assert [line for line in lines if line.startswith("o ")] == [
        f"o {name}" for name in sorted(names)
    ]
    write_mesh(tmp_path / "bodies.ply", PERSONS, SOLID.faces)
    (mesh,) = read(tmp_path / "bodies.ply")
    assert mesh.vertices.shape == (3 * COUNT, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_persons_differ_in_colour_where_the_format_can(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bodies{suffix}"
    write_mesh(path, PERSONS, SOLID.faces)
    meshes = read(path)
    if suffix == ".glb":
        colours = [tuple(mesh.visual.material.baseColorFactor) for mesh in meshes]
        assert len(set(colours)) == 3
    elif suffix == ".ply":
        assert len(np.unique(meshes[0].visual.vertex_colors, axis=0)) == 3


def test_suffixes_may_be_capitals(tmp_path: Path) -> None:
    write_mesh(str(tmp_path / "BODIES.GLB"), PERSONS, SOLID.faces)
    assert (tmp_path / "BODIES.GLB").read_bytes()[:4] == b"glTF"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"bodies{suffix}"
    path.write_text("old")

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        write_mesh(path, PERSONS, SOLID.faces)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_unknown_suffixes_are_refused_with_the_known(tmp_path: Path) -> None:
    for name in ("bodies.stl", "bodies", "glb"):
        with pytest.raises(ValueError, match=r"known are \.glb, \.obj, \.ply"):
            write_mesh(tmp_path / name, PERSONS, SOLID.faces)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        write_mesh(tmp_path / "absent" / "bodies.glb", PERSONS, SOLID.faces)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vertices_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    spoilt = PERSONS.copy()
    spoilt[1, 3, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        write_mesh(tmp_path / "bodies.glb", spoilt, SOLID.faces)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nobody_is_a_valid_file_without_a_mesh(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bodies{suffix}"
    write_mesh(path, PERSONS[:0], SOLID.faces)
    loaded = trimesh.load(path)
    meshes = loaded.geometry.values() if isinstance(loaded, trimesh.Scene) else [loaded]
    assert not any(len(mesh.faces) for mesh in meshes)


def test_wrong_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bodies.glb"
    with pytest.raises(ValueError, match="numbers must be 3, one a person, got 1"):
        write_mesh(path, PERSONS, SOLID.faces, numbers=[3])
    with pytest.raises(ValueError, match=r"vertices must be \(P, V, 3\)"):
        write_mesh(path, PERSONS[0], SOLID.faces)
    with pytest.raises(ValueError, match="faces must name vertices"):
        write_mesh(path, PERSONS, SOLID.faces + 1)


def test_without_trimesh_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    write_mesh(tmp_path / "bodies.obj", PERSONS, SOLID.faces)
    with pytest.raises(ImportError, match="pip install trimesh"):
        write_mesh(tmp_path / "bodies.glb", PERSONS, SOLID.faces)
    assert [path.name for path in tmp_path.iterdir()] == ["bodies.obj"]


def test_pictures_load_no_heavy_library() -> None:
    script = """
import sys
import dualhmr.rendering
assert not {"trimesh", "matplotlib"} & set(sys.modules)
"""
    paths = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": paths}
    )
