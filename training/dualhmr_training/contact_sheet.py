"""Contact sheets: the bodies that networks predict, drawn over people's crops."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body.model import pose_skeleton, skin_vertices
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Objective
from dualhmr.rendering import render_meshes
from dualhmr.rendering.pictures import INK, blank, draw_dots
from dualhmr_training.batches import Batch

Picture = npt.NDArray[np.uint8]


@torch.no_grad()
def contact_sheet(outputs: Sequence[HeadOutput], objective: Objective, batch: Batch) -> Picture:
    """The N persons of `batch` side by side in their crops, a row for each of `outputs`, RGB.

    Bodies are drawn over the image, if the batch has one, and under dots at the keypoints that are
    known at test time.
    """
    rows = [
        np.concatenate(_crops_with_bodies(output, objective, batch), axis=1) for output in outputs
    ]
    return np.concatenate(rows, axis=0)


def _crops_with_bodies(output: HeadOutput, objective: Objective, batch: Batch) -> list[Picture]:
    view, body = batch.evidence.view, objective.body
    pose = pose_skeleton(body, output.rotations, output.betas)
    camera = objective.full_camera(output.camera, view)
    vertices = (skin_vertices(body, pose) + camera.translation[:, None]).cpu().numpy()
    # A crop has a camera of its own: that of the image, moved to the box and magnified.
    magnification = CROP_HEIGHT / view.box_height
    focal_lengths = (camera.focal_length * magnification).tolist()
    from_center = (camera.principal_point - view.box_center) * magnification[:, None]
    principal_points = (from_center.cpu() + _crop_center()).numpy()
    crops = []
    for person in range(len(vertices)):
        crop = render_meshes(
            vertices[person, None],
            body.faces.cpu().numpy(),
            focal_length=focal_lengths[person],
            principal_point=principal_points[person],
            background=batch.inputs["image"][person].cpu().numpy()
            if "image" in batch.inputs
            else blank(CROP_HEIGHT, CROP_WIDTH),
        )
        detected = batch.evidence.confidence[person] > 0
        dot_keypoints(crop, batch.evidence.keypoints[person][detected])
        crops.append(crop)
    return crops


def dot_keypoints(
    crop: Picture, keypoints: Tensor, *, colour: tuple[int, int, int] = INK, radius: float = 1.8
) -> None:
    """Draws dots at keypoints (K, 2), in normalised crop coordinates; others are left out."""
    half_size = torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / 2
    points_px = keypoints.cpu() * half_size + _crop_center()
    draw_dots(crop, points_px.numpy(), radius=radius, colour=colour, rim=False)


def _crop_center() -> Tensor:
    """The crop's centre in its pixels, where (0, 0) is the centre of the first pixel."""
    return torch.tensor([(CROP_WIDTH - 1) / 2, (CROP_HEIGHT - 1) / 2])
