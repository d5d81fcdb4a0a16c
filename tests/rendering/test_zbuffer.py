import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.solids import Solid, project, sphere, sphere_outline_area, square
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dualhmr import compiling
from dualhmr.rendering import zbuffer
from dualhmr.rendering.zbuffer import NOTHING, FrameBuffer, draw_mesh

HEIGHT, WIDTH, FOCAL = 120, 160, 150.0
CENTRE = np.array([79.5, 59.5])

in_front = st.tuples(st.floats(-0.8, 0.8), st.floats(-0.5, 0.5), st.floats(3.5, 6.0))


def draw(*solids: Solid, persons: list[int] | None = None) -> FrameBuffer:
    """Draw solids whose colour is each vertex's own place in front of the camera."""
    buffer = FrameBuffer.black(HEIGHT, WIDTH)
    for number, solid in zip(persons or range(len(solids)), solids, strict=True):
        corners = project(solid.vertices, FOCAL, CENTRE)
        draw_mesh(buffer, corners, solid.faces, solid.vertices, person=number)
    return buffer


def same(one: FrameBuffer, other: FrameBuffer) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("colour", "depth", "face_id", "person_id")
    )


@given(centre=in_front, radius=st.floats(0.5, 0.9))
@settings(deadline=None, max_examples=25)
def test_a_sphere_covers_the_area_of_its_outline(
    centre: tuple[float, float, float], radius: float
) -> None:
    covered = (draw(sphere(centre, radius)).person_id == 0).sum()
    assert covered == pytest.approx(sphere_outline_area(centre, radius, FOCAL), rel=0.03)


@given(centre=in_front)
@settings(deadline=None, max_examples=25)
def test_a_sphere_has_no_holes(centre: tuple[float, float, float]) -> None:
    covered = draw(sphere(centre, 0.7)).person_id == 0
    for line in [*covered, *covered.T]:
        ends = np.flatnonzero(np.diff(line.astype(int), prepend=0, append=0))
        assert len(ends) in (0, 2)


@given(centre=in_front)
@settings(deadline=None, max_examples=25)
def test_colours_are_interpolated_with_perspective(centre: tuple[float, float, float]) -> None:
    buffer = draw(sphere(centre, 0.8, detail=1))
    rows, columns = np.nonzero(buffer.person_id == 0)
    points = buffer.colour[rows, columns]
    seen = project(points, FOCAL, CENTRE)
    np.testing.assert_allclose(seen[:, :2], np.stack([columns, rows], axis=1), atol=1e-3)
    np.testing.assert_allclose(buffer.depth[rows, columns], points[:, 2], rtol=1e-5)


def test_the_depth_of_a_triangle_is_its_planes() -> None:
    corners = np.array([[-0.9, -0.6, 2.0], [0.1, 0.8, 3.0], [1.4, -0.7, 5.0]])
    buffer = draw(Solid(corners, np.array([[0, 1, 2]])))
    rows, columns = np.nonzero(buffer.face_id == 0)
    assert len(rows) > 1000
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    rays = np.stack([*((np.stack([columns, rows]) - CENTRE[:, None]) / FOCAL), np.ones(len(rows))])
    np.testing.assert_allclose(
        buffer.depth[rows, columns], (normal @ corners[0]) / (normal @ rays), rtol=1e-5
    )


def test_pixels_whose_centre_is_inside_are_covered() -> None:
    buffer = FrameBuffer.black(8, 8, channels=1)
    corners = np.array([[1.5, 2.5, 1], [5.5, 2.5, 1], [5.5, 4.5, 1], [1.5, 4.5, 1]])
    draw_mesh(buffer, corners, [[0, 2, 1], [0, 3, 2]], np.ones((4, 1)))
    expected = np.zeros((8, 8))
    expected[3:5, 2:6] = 1
    np.testing.assert_array_equal(buffer.colour[..., 0], expected)


def test_faces_that_look_away_are_culled() -> None:
    solid = sphere((0, 0, 4))
    reversed_square = Solid(square((0, 0, 3), 1.0).vertices, square((0, 0, 3), 1.0).faces[:, ::-1])
    assert (draw(reversed_square).face_id == NOTHING).all()
    ids = draw(solid).face_id
    corners = solid.vertices[solid.faces[ids[ids != NOTHING]]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * corners[:, 0]).sum(axis=1) < 0).all()


@given(one=in_front, other=in_front)
@settings(deadline=None, max_examples=25)
def test_the_nearer_mesh_hides_the_other_whatever_comes_first(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    first, second = sphere(one, 0.6, detail=3), sphere(other, 0.6, detail=3)
    together = draw(first, second)
    alone = [draw(first).depth, draw(second).depth]
    np.testing.assert_array_equal(together.depth, np.minimum(*alone))
    differ = alone[0] != alone[1]
    nearer = np.where(alone[0] < alone[1], 0, 1)
    np.testing.assert_array_equal(together.person_id[differ], nearer[differ])
    swapped = draw(second, first, persons=[1, 0])
    np.testing.assert_array_equal(swapped.person_id[differ], together.person_id[differ])


def test_of_two_at_the_same_place_the_first_stays() -> None:
    solid = sphere((0, 0, 4))
    assert same(draw(solid, solid), draw(solid))


@pytest.mark.parametrize(
    "bad",
    [[np.nan, 0, 1], [0, np.nan, 1], [0, 0, np.nan], [np.inf, 0, 1], [0, -np.inf, 1],
     [0, 0, np.inf], [1e308, -1e308, 1], [50, 50, 0], [50, 50, -3], [50, 50, 0.5]],
)  # fmt: skip
def test_triangles_with_a_bad_corner_are_left_out(bad: list[float]) -> None:
    solid = sphere((0, 0, 4))
    corners = project(solid.vertices, FOCAL, CENTRE)
    chosen = np.arange(0, len(corners), 7)
    spoilt = corners.copy()
    spoilt[chosen] = bad
    kept = ~np.isin(solid.faces, chosen).any(axis=1)
    buffers = [FrameBuffer.black(HEIGHT, WIDTH) for _ in range(2)]
    draw_mesh(buffers[0], spoilt, solid.faces, solid.vertices, near=0.5)
    draw_mesh(buffers[1], corners, solid.faces[kept], solid.vertices, near=0.5)
    np.testing.assert_array_equal(buffers[0].depth, buffers[1].depth)
    np.testing.assert_array_equal(buffers[0].colour, buffers[1].colour)


@given(
    st.lists(
        st.tuples(
            st.floats(width=64), st.floats(width=64), st.floats(width=64)
        ),
        min_size=3, max_size=3,
    )
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_no_triangle_does_harm(corners: list[tuple[float, float, float]]) -> None:
    for draw_triangles in (zbuffer._draw, zbuffer._draw_arrays):
        buffer = FrameBuffer.black(6, 9)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zbuffer, "_draw", draw_triangles)
            draw_mesh(buffer, corners, [[0, 1, 2], [0, 2, 1]], np.full((3, 3), 0.5))
        covered = buffer.face_id != NOTHING
        assert (buffer.depth[covered] >= 0).all()
        assert np.isinf(buffer.depth[~covered]).all()
        np.testing.assert_allclose(buffer.colour[covered], 0.5, rtol=1e-5)


def test_a_triangle_far_beyond_the_picture_covers_it() -> None:
    buffer = FrameBuffer.black(6, 9)
    draw_mesh(buffer, [[-1e9, -1e9, 1], [0, 3e9, 1], [1e9, -1e9, 1]], [[0, 1, 2]], np.ones((3, 3)))
    assert (buffer.face_id == 0).all()


def test_bytes_are_the_rounded_floats() -> None:
    solid = sphere((0, 0, 4))
    corners = project(solid.vertices, FOCAL, CENTRE)
    colours = np.random.default_rng(0).uniform(0, 255, solid.vertices.shape)
    colours[::5] = 255
    exact, rounded = (FrameBuffer.black(HEIGHT, WIDTH, dtype=kind) for kind in ("f4", "u1"))
    for buffer in (exact, rounded):
        draw_mesh(buffer, corners, solid.faces, colours)
    assert np.abs(rounded.colour - exact.colour).max() <= 0.501


def test_a_background_stays_where_nothing_is_drawn() -> None:
    background = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    buffer = FrameBuffer.black(HEIGHT, WIDTH, dtype=np.uint8)
    buffer.colour[:] = background
    solid = sphere((0, 0, 4))
    corners = project(solid.vertices, FOCAL, CENTRE)
    draw_mesh(buffer, corners, solid.faces, np.zeros((len(corners), 3)))
    outside = buffer.person_id == NOTHING
    np.testing.assert_array_equal(buffer.colour[outside], background[outside])
    assert not buffer.colour[~outside].any()


def test_wrong_arrays_are_refused() -> None:
    buffer = FrameBuffer.black(4, 4)
    three = np.ones((3, 3))
    for faces in ([[0, 1, 3]], [[0, 1, -1]]):
        with pytest.raises(ValueError, match="vertices 0 to 2"):
            draw_mesh(buffer, three, faces, three)
    with pytest.raises(ValueError, match=r"faces must be \(F, 3\)"):
        draw_mesh(buffer, three, [0, 1, 2], three)
    with pytest.raises(ValueError, match=r"vertices_px must be \(V, 3\)"):
        draw_mesh(buffer, three[:, :2], [[0, 1, 2]], three)
    with pytest.raises(ValueError, match=r"colours must be \(3, 3\)"):
        draw_mesh(buffer, three, [[0, 1, 2]], three[:, :2])
    with pytest.raises(ValueError, match="near"):
        draw_mesh(buffer, three, [[0, 1, 2]], three, near=-1.0)
    with pytest.raises(ValueError, match="float32 or uint8"):
        FrameBuffer.black(4, 4, dtype=np.float64)
    with pytest.raises(ValueError, match="as colour is"):
        FrameBuffer(buffer.colour, buffer.depth[:2], buffer.face_id, buffer.person_id)


def test_nothing_to_draw_is_fine() -> None:
    empty: NDArray[np.int64] = np.zeros((0, 3), np.int64)
    buffer = FrameBuffer.black(4, 4)
    draw_mesh(buffer, np.zeros((0, 3)), empty, np.zeros((0, 3)))
    draw_mesh(FrameBuffer.black(0, 0), np.ones((3, 3)), [[0, 1, 2]], np.ones((3, 3)))
    assert (buffer.face_id == NOTHING).all()


def test_without_numba_the_same_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    wild = rng.normal(0, 1, (60, 3)) * [1, 1, 3] + [0, 0, 3]
    wild[::13] = [[np.nan, 0, 1], [0, np.inf, 1], [0, 0, -1], [1e30, -1e30, 1], [0, 0, 9]]
    flat = square((0, 0, 3), 1.0)
    solids = [
        Solid(wild, rng.integers(0, 60, (200, 3))),
        sphere((0.2, 0, 4)),
        sphere((0.2, 0, 4)),
        Solid(flat.vertices, np.concatenate([flat.faces] * 3)),
    ]
    monkeypatch.setattr(zbuffer, "_draw", zbuffer.compiled_loop(zbuffer._draw_loop))
    expected = draw(*solids)
    assert len(np.unique(expected.person_id)) == 4  # nothing, and all but the second sphere
    for at_once in (1 << 20, 500):
        monkeypatch.setattr(zbuffer, "_draw", zbuffer._draw_arrays)
        monkeypatch.setattr(zbuffer, "_PIXELS_AT_ONCE", at_once)
        found = draw(*solids)
        differ = found.face_id != expected.face_id
        assert differ.mean() < 1e-3  # on edges, by rounding
        np.testing.assert_array_equal(found.person_id[~differ], expected.person_id[~differ])
        np.testing.assert_allclose(found.depth[~differ], expected.depth[~differ], rtol=1e-6)
        np.testing.assert_allclose(found.colour[~differ], expected.colour[~differ], atol=1e-4)


@pytest.mark.parametrize("home_is_writable", [True, False])
def test_a_read_only_package_still_compiles(tmp_path: Path, home_is_writable: bool) -> None:
    package, home = tmp_path / "package", tmp_path / "home"
    package.mkdir()
    shutil.copy(zbuffer.__file__, package / "zbuffer.py")
    (package / "dualhmr").mkdir()
    (package / "dualhmr" / "__init__.py").touch()
    shutil.copy(compiling.__file__, package / "dualhmr" / "compiling.py")
    # A file where a folder should be cannot be written into, not even by root.
    (package / "__pycache__").write_text("")
    if home_is_writable:
        home.mkdir()
    else:
        home.write_text("")
    script = """
import numpy as np, zbuffer
buffer = zbuffer.FrameBuffer.black(2, 2)
zbuffer.draw_mesh(buffer, [[-9, -9, 1], [0, 9, 1], [9, -9, 1]], [[0, 1, 2]], np.ones((3, 3)))
assert (buffer.face_id == 0).all()
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(package)}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=environment)
    assert not home_is_writable or list(home.rglob("*.nbi"))
