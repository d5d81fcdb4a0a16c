import numpy as np
import pytest
from helpers.solids import sphere

from dualhmr.rendering.meshes import person_colours, shade, vertex_normals


def test_the_normals_of_a_sphere_are_radial() -> None:
    solid = sphere((1, 2, 3), 0.5)
    radial = (solid.vertices - (1, 2, 3)) / 0.5
    np.testing.assert_allclose(vertex_normals(*solid), radial, atol=0.02)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308])
def test_bad_vertices_spoil_no_other_normal(bad: float) -> None:
    solid = sphere()
    vertices = solid.vertices.copy()
    vertices[5] = bad
    kept = solid.faces[~(solid.faces == 5).any(axis=1)]
    normals = vertex_normals(vertices, solid.faces)
    np.testing.assert_array_equal(normals, vertex_normals(solid.vertices, kept))
    np.testing.assert_array_equal(normals[5], 0)


def test_what_faces_the_camera_is_lighter_than_what_looks_away() -> None:
    towards, sideways, away = shade([[0, 0, -1], [1, 0, 0], [0, 0, 1]], (0.5, 0.7, 0.9))
    assert (towards > sideways).all()
    assert (sideways > away).all()


def test_shades_are_colours() -> None:
    solid = sphere()
    shaded = shade(vertex_normals(*solid), (1.0, 1.0, 1.0))
    assert shaded.dtype == np.float32
    assert shaded.min() > 0
    assert shaded.max() <= 1


def test_persons_differ_in_colour() -> None:
    colours = person_colours(24)
    assert colours.shape == (24, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    apart = np.abs(colours[:, None] - colours[None]).max(axis=-1)
    assert (apart[~np.eye(24, dtype=bool)] > 0.01).all()
    assert (apart[:8, :8][~np.eye(8, dtype=bool)] > 0.15).all()
    np.testing.assert_array_equal(person_colours(3), colours[:3])
    assert person_colours(0).shape == (0, 3)
