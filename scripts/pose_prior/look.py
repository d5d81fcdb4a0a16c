"""A contact sheet of the prior's samples: a row for each category, from the front and the side.

python -m scripts.pose_prior.look --out sheet.png
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from dualhmr.body.model import load_body, skin
from dualhmr.rendering import render_meshes
from dualhmr.rendering.pictures import blank, write_png
from dualhmr.rotations import rotvec_to_rotmat
from dualhmr_training.data.synthetic.pose_prior import default_pose_prior

_TILE = 150
_FOCAL_PX, _AWAY_M = 700.0, 8.5
_YAWS = (0.3, math.pi / 2)


def main() -> None:
    """Renders and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8, help="poses of a category (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    body, prior = load_body(), default_pose_prior()
    rows = []
    for name in prior.categories:
        poses = prior.sample(options.each, seed=options.seed, categories=(name,))
        rotations = rotvec_to_rotmat(poses.rotvecs)
        upright = rotations[:, 0].clone()
        tiles = []
        for yaw in _YAWS:
            turn = rotvec_to_rotmat(torch.tensor([0.0, yaw, 0.0]))
            rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn @ upright
            vertices, _ = skin(body, rotations, torch.zeros(len(rotations), body.beta_count))
            middle = (vertices.amin(1) + vertices.amax(1)) / 2
            placed = vertices - middle[:, None] + torch.tensor([0.0, 0.0, _AWAY_M])
            tiles.append([_tile(each, body.faces.numpy()) for each in placed.numpy()])
        print(name)
        rows.append(np.concatenate([tile for pair in zip(*tiles, strict=True) for tile in pair], 1))
    write_png(options.out, np.concatenate(rows))


def _tile(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return render_meshes(
        vertices[None],
        faces,
        focal_length=_FOCAL_PX,
        principal_point=np.array([_TILE / 2, _TILE / 2]),
        background=blank(_TILE, _TILE),
    )


if __name__ == "__main__":
    main()
