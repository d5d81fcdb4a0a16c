"""A z-buffer: rasterises triangles on the CPU, without a display.

Pixel (0, 0) has its centre at the coordinate (0, 0); x points right and y points down.
There is one sample at each pixel's centre and no antialiasing, so that ids and depths are exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from dualhmr.compiling import compiled_loop, numba_installed

NOTHING = -1

# Nearer than this, one over the depth overflows.
NEAREST = 1e-30

# Barycentric slack, so that rounding opens no pinholes along the edge that two triangles share.
EDGE_SLACK = 1e-7


@dataclass(frozen=True)
class FrameBuffer:
    """The pixels that `draw_mesh` writes, in place.

    Attributes:
        colour: (H, W, C) float32 or uint8, the interpolated vertex colours.
        depth: (H, W) float32, infinity where nothing was drawn.
        face_id: (H, W) int32, the row of the mesh's `faces`, `NOTHING` where nothing was drawn.
        person_id: (H, W) int32, the `person` of the mesh, or `NOTHING`.
    """

    colour: NDArray[Any]
    depth: NDArray[np.float32]
    face_id: NDArray[np.int32]
    person_id: NDArray[np.int32]

    def __post_init__(self) -> None:
        size, dtype = self.colour.shape[:2], self.colour.dtype
        if self.colour.ndim != 3 or dtype not in (np.float32, np.uint8):
            raise ValueError(
                f"colour must be (H, W, C) of float32 or uint8, got {self.colour.shape} of {dtype}"
            )
        # The compiled loop relies on these.
        if {self.depth.shape, self.face_id.shape, self.person_id.shape} != {size}:
            raise ValueError(f"depth, face_id and person_id must be {size} as colour is")

    @classmethod
    def black(
        cls, height: int, width: int, *, channels: int = 3, dtype: DTypeLike = np.float32
    ) -> "FrameBuffer":
        """Return a buffer that is 0 everywhere, of `dtype` float32 or uint8."""
        size = (height, width)
        return cls(
            colour=np.zeros((*size, channels), dtype),
            depth=np.full(size, np.inf, np.float32),
            face_id=np.full(size, NOTHING, np.int32),
            person_id=np.full(size, NOTHING, np.int32),
        )


def draw_mesh(
    buffer: FrameBuffer,
    vertices_px: ArrayLike,
    faces: ArrayLike,
    colours: ArrayLike,
    *,
    person: int = 0,
    near: float = 0.0,
) -> None:
    """Draw a mesh into the buffer; at each pixel the nearest surface wins.

    Triangles that are clockwise on the screen face away from the camera and are culled: a mesh
    whose triangles are counter-clockwise seen from outside, such as SMPL, shows its outside.
    Triangles with a vertex at or before `near`, or one that is not finite, are left out.

    Args:
        buffer: changed in place.
        vertices_px: (V, 3) x and y in pixels, and depth: any number proportional to the distance
            along the optical axis, in one unit for all meshes. Colours are interpolated with
            perspective.
        faces: (F, 3) vertex indices.
        colours: (V, C) in the unit of `buffer.colour`, e.g. 0 to 255 for uint8.
        person: written into `buffer.person_id`.
        near: a depth, at least 0.

    Raises:
        ValueError: shapes disagree, an index in `faces` names no vertex, or `near` is negative.
    """
    corners = np.ascontiguousarray(vertices_px, np.float64)
    triangles = np.ascontiguousarray(faces, np.int64)
    values = np.ascontiguousarray(colours, np.float32)
    channels = buffer.colour.shape[2]
    if corners.ndim != 2 or corners.shape[1] != 3:
        raise ValueError(f"vertices_px must be (V, 3), got {corners.shape}")
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"faces must be (F, 3), got {triangles.shape}")
    if values.shape != (len(corners), channels):
        raise ValueError(f"colours must be {(len(corners), channels)}, got {values.shape}")
    if not near >= 0:
        raise ValueError(f"near must be at least 0, got {near}")
    # The compiled loop does not check indices: a wrong one would read out of bounds.
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(corners):
        raise ValueError(f"faces must name vertices 0 to {len(corners) - 1}")
    _draw(
        corners,
        triangles,
        values,
        int(person),
        max(float(near), NEAREST),
        # Added to colours: the conversion to uint8 drops the fraction.
        0.5 if buffer.colour.dtype == np.uint8 else 0.0,
        buffer.colour,
        buffer.depth,
        buffer.face_id,
        buffer.person_id,
    )


def _draw_loop(  # type: ignore[no-untyped-def]
    corners, triangles, values, person, near, rounding, colour, depth, face_id, person_id
):
    height, width, channels = colour.shape
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        xa, ya, za = corners[a, 0], corners[a, 1], corners[a, 2]
        xb, yb, zb = corners[b, 0], corners[b, 1], corners[b, 2]
        xc, yc, zc = corners[c, 0], corners[c, 1], corners[c, 2]
        # Twice the signed area. As y points down, it is negative for counter-clockwise triangles.
        double_area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        # Every comparison with NaN is false, so these also drop triangles that are not finite.
        if not (-np.inf < double_area < 0.0):
            continue
        if not (near < za < np.inf and near < zb < np.inf and near < zc < np.inf):
            continue
        # Clipped while still a float: a far coordinate would overflow an integer.
        left = int(min(max(np.ceil(min(xa, xb, xc)), 0.0), width))
        right = int(max(min(np.floor(max(xa, xb, xc)), width - 1.0), -1.0))
        top = int(min(max(np.ceil(min(ya, yb, yc)), 0.0), height))
        bottom = int(max(min(np.floor(max(ya, yb, yc)), height - 1.0), -1.0))
        # Barycentric weights are linear on the screen, and so is 1 / depth (here "nearness").
        scale = 1.0 / double_area
        step_a, step_b = (yb - yc) * scale, (yc - ya) * scale
        nearness_a, nearness_b, nearness_c = 1.0 / za, 1.0 / zb, 1.0 / zc
        for y in range(top, bottom + 1):
            row_a = (xb * (yc - y) - xc * (yb - y)) * scale
            row_b = (xc * (ya - y) - xa * (yc - y)) * scale
            for x in range(left, right + 1):
                wa = row_a + step_a * x
                wb = row_b + step_b * x
                wc = 1.0 - wa - wb
                if not (wa >= -EDGE_SLACK and wb >= -EDGE_SLACK and wc >= -EDGE_SLACK):
                    continue
                # Dividing each weight by its depth makes the interpolation perspective-correct.
                wa = max(wa, 0.0) * nearness_a
                wb = max(wb, 0.0) * nearness_b
                wc = max(wc, 0.0) * nearness_c
                point_depth = 1.0 / (wa + wb + wc)
                if not np.float32(point_depth) < depth[y, x]:
                    continue
                depth[y, x] = point_depth
                face_id[y, x] = face
                person_id[y, x] = person
                for k in range(channels):
                    value = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]
                    colour[y, x, k] = value * point_depth + rounding


# Bounds the memory of drawing in NumPy.
_PIXELS_AT_ONCE = 1 << 20


def _draw_arrays(
    corners: NDArray[np.float64],
    triangles: NDArray[np.int64],
    values: NDArray[np.float32],
    person: int,
    near: float,
    rounding: float,
    colour: NDArray[Any],
    depth: NDArray[np.float32],
    face_id: NDArray[np.int32],
    person_id: NDArray[np.int32],
) -> None:
    """As `_draw_loop`, many lines of pixels at a time: what a triangle covers of a row."""
    height, width = depth.shape
    with np.errstate(all="ignore"):
        x, y, z = corners[triangles].transpose(2, 1, 0)  # (3, F) each
        double_area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        drawn = (-np.inf < double_area) & (double_area < 0)
        drawn &= ((near < z) & (z < np.inf)).all(axis=0)
        faces = np.flatnonzero(drawn)
        left, right = _pixel_span(x[:, faces], width)
        top, bottom = _pixel_span(y[:, faces], height)
        line, row = _ranges(top, bottom)
        face = faces[line]
        # Barycentric weights are start + slope * column.
        (xa, xb, xc), (ya, yb, yc), scale = x[:, face], y[:, face], 1.0 / double_area[face]
        start = np.stack([xb * (yc - row) - xc * (yb - row), xc * (ya - row) - xa * (yc - row)])
        slope = np.stack([yb - yc, yc - ya])
        start, slope = start * scale, slope * scale
        start = np.concatenate([start, [1.0 - start[0] - start[1]]])
        slope = np.concatenate([slope, [-slope[0] - slope[1]]])
        edge = (-EDGE_SLACK - start) / slope
        first = np.where(slope > 0, edge, -np.inf).max(0)
        last = np.where(slope < 0, edge, np.inf).min(0)
        outside = (slope == 0) & (start < -EDGE_SLACK)
        last[(outside | ~np.isfinite(start + slope)).any(0)] = -1  # an empty line
        first = np.maximum(_whole(np.ceil(first), 0, width), left[line])
        last = np.minimum(_whole(np.floor(last), -1, width - 1), right[line])
        start, slope = start / z[:, face], slope / z[:, face]  # now of weight / depth
        ends = np.cumsum(np.maximum(last - first + 1, 0))
        begin = 0
        while begin < len(ends):
            done = ends[begin - 1] if begin else 0
            stop = max(int(np.searchsorted(ends, done + _PIXELS_AT_ONCE)), begin + 1)
            at, column = _ranges(first[begin:stop], last[begin:stop])
            at += begin
            pixel = row[at] * width + column
            weights = [
                np.maximum(a[at] + b[at] * column, 0.0) for a, b in zip(start, slope, strict=True)
            ]
            exact = 1.0 / (weights[0] + weights[1] + weights[2])
            found = exact.astype(np.float32)
            visible = np.flatnonzero(found < depth[row[at], column])
            nearest = np.full(height * width, np.inf, np.float32)
            np.minimum.at(nearest, pixel[visible], found[visible])
            # Backwards: where several are equally near, the last one written stays, the first.
            visible = visible[found[visible] == nearest[pixel[visible]]][::-1]
            at, place = at[visible], (row[at[visible]], column[visible])
            depth[place], face_id[place], person_id[place] = found[visible], face[at], person
            shown = np.full((len(at), colour.shape[2]), rounding, np.float32)
            for weight, corner in zip(weights, triangles[face[at]].T, strict=True):
                share = (weight[visible] * exact[visible]).astype(np.float32)
                shown += share[:, None] * values[corner]
            colour[place] = shown.astype(colour.dtype)
            begin = stop


def _pixel_span(
    positions: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last pixel of triangles along one axis, of corners' `positions` (3, F)."""
    first, last = np.ceil(positions.min(axis=0)), np.floor(positions.max(axis=0))
    return _whole(first, 0, size), _whole(last, -1, size - 1)


def _whole(numbers: NDArray[np.float64], low: int, high: int) -> NDArray[np.int64]:
    """Clipped while still floats: a far coordinate would overflow an integer."""
    return np.clip(numbers, low, high).astype(np.int64)


def _ranges(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All whole numbers of ranges, ends included: which range each is from, and the number."""
    lengths = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(first)), lengths)
    before = np.cumsum(lengths) - lengths
    return which, np.arange(len(which)) - (before - first)[which]


_draw = compiled_loop(_draw_loop) if numba_installed() else _draw_arrays
