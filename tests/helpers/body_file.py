"""Bodies that tests make, as files that `load_body` reads."""

from pathlib import Path

import numpy as np

from dualhmr.body.model import Body


def write_body_file(body: Body, path: Path) -> Path:
    """In the layout of our own `.npz`, name and keypoints included."""
    arrays = {
        "name": np.array(body.name),
        "v_template": body.v_template,
        "shapedirs": body.shapedirs,
        "posedirs": body.posedirs,
        "J_regressor": body.joint_regressor,
        "weights": body.weights,
        "f": body.faces,
        "kintree_table": np.array([(2**32 - 1, *body.parents[1:]), range(24)], dtype=np.uint32),
    }
    if body.keypoint_regressor is not None:
        arrays["keypoint_regressor"] = body.keypoint_regressor
        arrays["keypoint_names"] = np.array(body.keypoint_names)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return path
