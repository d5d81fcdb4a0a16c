"""Pictures of what networks make of people, for watching a training."""

import numpy as np
import numpy.typing as npt
import torch

from dualhmr.body import pose_skeleton, skin_vertices
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, View, cliff_camera
from dualhmr.networks import HeadOutput
from dualhmr.objective import Objective
from dualhmr.rendering import render_meshes
from dualhmr.rotations import rot6d_to_rotmat

Picture = npt.NDArray[np.uint8]


@torch.no_grad()
def contact_sheet(
    outputs: list[HeadOutput], objective: Objective, view: View, keypoints: torch.Tensor
) -> Picture:
    """N persons side by side, one row for each of `outputs`, in their crops, as (H, W, 3) RGB.

    `keypoints` (N, K, 2) in normalised crop coordinates are dotted in dark.
    """
    rows = [_row(output, objective, view, keypoints) for output in outputs]
    return np.concatenate(rows, axis=0)


def _row(output: HeadOutput, objective: Objective, view: View, keypoints: torch.Tensor) -> Picture:
    rotations = rot6d_to_rotmat(output.pose_6d.unflatten(1, (24, 6)))
    pose = pose_skeleton(objective.body, rotations, output.betas)
    camera = cliff_camera(output.camera, view)
    vertices = skin_vertices(objective.body, pose) + camera.translation[:, None]
    # The crop is a camera of its own: the image's, moved to the box and magnified.
    magnification = CROP_HEIGHT / view.box_height
    center = torch.tensor([(CROP_WIDTH - 1) / 2, (CROP_HEIGHT - 1) / 2])
    principal = (camera.principal_point - view.box_center) * magnification[:, None] + center
    panels = []
    for person in range(len(vertices)):
        panel = render_meshes(
            vertices[person : person + 1].numpy(),
            objective.body.faces.numpy(),
            focal_length=float(camera.focal_length[person] * magnification[person]),
            principal_point=principal[person].numpy(),
            background=np.full((CROP_HEIGHT, CROP_WIDTH, 3), 245, np.uint8),
        )
        half = torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / 2
        for x, y in (keypoints[person] * half + center).round().int().tolist():
            panel[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 40
        panels.append(panel)
    return np.concatenate(panels, axis=1)
