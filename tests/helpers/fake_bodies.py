"""Bodies in SMPL's layout that are no humans: arrays, files of them, and `Body` objects."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from smplx.vertex_ids import vertex_ids

from dualhmr.body.model import Body
from helpers.python2_pickle import Global, Object, dumps_python2

Arrays = dict[str, NDArray[Any]]

SMPL_PARENTS = (
    *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8),
    *(9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
)  # fmt: skip


def random_arrays(
    *, vertices: int = 60, faces: int = 100, betas: int = 10, seed: int = 0
) -> Arrays:
    """What an SMPL file holds, in double precision, of the size of a person."""
    rng = np.random.default_rng(seed)
    joint_regressor = np.zeros((24, vertices))
    weights = np.zeros((vertices, 24))
    for joint in range(24):
        chosen = rng.choice(vertices, 5, replace=False)
        joint_regressor[joint, chosen] = rng.dirichlet(np.ones(5))
    for vertex in range(vertices):
        weights[vertex, rng.choice(24, 4, replace=False)] = rng.dirichlet(np.ones(4))
    return {
        "v_template": rng.normal(0, [0.3, 0.6, 0.1], (vertices, 3)),
        "shapedirs": rng.normal(0, 0.02, (vertices, 3, betas)),
        "posedirs": rng.normal(0, 0.01, (vertices, 3, 207)),
        "J_regressor": joint_regressor,
        "weights": weights,
        "kintree_table": np.array([SMPL_PARENTS, range(24)]).astype(np.uint32),
        "f": rng.integers(0, vertices, (faces, 3)).astype(np.uint32),
    }


def body_of(arrays: Arrays, *, dtype: torch.dtype = torch.float64, name: str = "random") -> Body:
    """The arrays as a body, not by way of a file."""
    real = {
        key: torch.from_numpy(value) for key, value in arrays.items() if value.dtype.kind == "f"
    }
    return Body(
        name=name,
        v_template=real["v_template"].to(dtype),
        shapedirs=real["shapedirs"].to(dtype),
        posedirs=real["posedirs"].to(dtype),
        joint_regressor=real["J_regressor"].to(dtype),
        weights=real["weights"].to(dtype),
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        parents=(-1, *arrays["kintree_table"][0, 1:].tolist()),
    )


def random_body(
    *,
    vertices: int = 60,
    betas: int = 10,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    parents: tuple[int, ...] = SMPL_PARENTS,
) -> Body:
    """A small body without keypoints."""
    arrays = random_arrays(vertices=vertices, betas=betas, seed=seed)
    arrays["kintree_table"][0] = np.array(parents).astype(np.uint32)
    return body_of(arrays, dtype=dtype)


@lru_cache(maxsize=1)
def fake_smpl_arrays() -> Arrays:
    """As many vertices and faces as SMPL, its keypoint vertices mirroring each other.

    Shared by all tests: copy what you change.
    """
    arrays = random_arrays(vertices=6890, faces=13776)
    arrays = {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }
    template, ids = arrays["v_template"], vertex_ids["smplh"]
    template[:, 0] -= template[:, 0].mean()
    template[ids["nose"], 0] = 0
    for left, right in smpl_vertex_pairs():
        template[right] = template[left] * [-1, 1, 1]
    return arrays


def smpl_vertex_pairs() -> list[tuple[int, int]]:
    """Left and right keypoint vertices of SMPL, from smplx's table."""
    ids = vertex_ids["smplh"]
    lowered = [(ids[f"l{part}"], ids[f"r{part}"]) for part in ("eye", "ear")]
    return lowered + [(ids[f"L{p}"], ids[f"R{p}"]) for p in ("BigToe", "SmallToe", "Heel")]


def fake_smpl_body(*, dtype: torch.dtype = torch.float32) -> Body:
    """A body with SMPL's topology."""
    return body_of(fake_smpl_arrays(), dtype=dtype, name="fake_smpl")


def write_smpl_npz(path: Path, arrays: Arrays) -> Path:
    """An SMPL `.npz`."""
    np.savez(path, **arrays)
    return path


def smpl_pickle_content(arrays: Arrays, *, old_objects: bool = True) -> dict[str, Any]:
    """The dict in a released SMPL `.pkl`: chumpy arrays, a sparse matrix, and what nobody needs."""

    def chumpy(state: dict[str, Any], cls: str = "chumpy.ch.Ch") -> Object:
        bookkeeping = {"_dirty_vars": {"x"}, "_itr": None, "_depends_on_deps": {}}
        return Object(Global(*cls.rsplit(".", 1)), state | bookkeeping, old=old_objects)

    content: dict[str, Any] = {
        name: chumpy({"x": array}) if name in ("v_template", "shapedirs", "posedirs") else array
        for name, array in arrays.items()
    }
    regressor = arrays["J_regressor"]
    columns, rows = regressor.T.nonzero()
    sparse = {
        "_shape": regressor.shape,
        "data": regressor[rows, columns],
        "indices": rows.astype(np.int32),
        "indptr": np.searchsorted(columns, np.arange(regressor.shape[1] + 1)).astype(np.int32),
        "format": "csc",
        "maxprint": 50,
    }
    csc_matrix = Global("scipy.sparse.csc", "csc_matrix")
    content["J_regressor"] = Object(csc_matrix, sparse, old=old_objects)
    content["J_regressor_prior"] = content["J_regressor"]
    idxs = np.arange(3)
    content["J"] = chumpy({"a": content["v_template"], "idxs": idxs}, "chumpy.reordering.Select")
    content["bs_type"] = "lrotmin"
    content["bs_style"] = "lbs"
    content["vert_sym_idxs"] = np.arange(len(arrays["v_template"]))
    return content


def write_smpl_pickle(path: Path, arrays: Arrays, *, old_objects: bool = True) -> Path:
    """An SMPL `.pkl` as Python 2 wrote the released ones."""
    path.write_bytes(dumps_python2(smpl_pickle_content(arrays, old_objects=old_objects)))
    return path
