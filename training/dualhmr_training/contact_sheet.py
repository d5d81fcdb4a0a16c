"""Pictures of what networks make of people, for watching a training."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dualhmr.body.model import pose_skeleton, skin_vertices
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH, View
from dualhmr.networks import HeadOutput
from dualhmr.objective.objective import Objective
from dualhmr.rendering import render_meshes
from dualhmr_training.batches import Batch, to_device

Picture = npt.NDArray[np.uint8]

_PAPER = 245
_INK = (40, 40, 40)


class _Body(NamedTuple):
    """A person's mesh before the camera of the crop."""

    vertices: npt.NDArray[np.float32]
    focal_length: float
    principal_point: npt.NDArray[np.float32]


@torch.no_grad()
def contact_sheet(outputs: Sequence[HeadOutput], objective: Objective, batch: Batch) -> Picture:
    """The N persons of `batch` side by side in their crops, a row for each of `outputs`, RGB.

    Bodies are drawn over the image, where the batch has one, and below dots at the keypoints that
    are known at test time.
    """
    faces = objective.body.faces.cpu().numpy()
    seen = to_device(batch, torch.device("cpu"))
    rows = []
    for output in outputs:
        crops = []
        for person, body in enumerate(_bodies(output, objective, batch.evidence.view)):
            crop = render_meshes(
                body.vertices[None],
                faces,
                focal_length=body.focal_length,
                principal_point=body.principal_point,
                background=_background(seen, person),
            )
            detected = seen.evidence.confidence[person] > 0
            draw_dots(crop, seen.evidence.keypoints[person][detected])
            crops.append(crop)
        rows.append(np.concatenate(crops, axis=1))
    return np.concatenate(rows, axis=0)


def _bodies(output: HeadOutput, objective: Objective, view: View) -> Iterator[_Body]:
    pose = pose_skeleton(objective.body, output.rotations, output.betas)
    camera = objective.camera(output.camera, view)
    vertices = skin_vertices(objective.body, pose) + camera.translation[:, None]
    # The crop is a camera of its own: the image's, moved to the box and magnified.
    magnification = CROP_HEIGHT / view.box_height
    from_center = (camera.principal_point - view.box_center) * magnification[:, None]
    principal_points = from_center.cpu() + _centre()
    for person in range(len(vertices)):
        yield _Body(
            vertices[person].cpu().numpy(),
            float(camera.focal_length[person] * magnification[person]),
            principal_points[person].numpy(),
        )


def _background(batch: Batch, person: int) -> Picture:
    if "image" in batch.inputs:
        return batch.inputs["image"][person].numpy()
    return np.full((CROP_HEIGHT, CROP_WIDTH, 3), _PAPER, np.uint8)


def draw_dots(
    crop: Picture, keypoints: Tensor, *, colour: tuple[int, int, int] = _INK, reach: int = 1
) -> None:
    """Draws (K, 2) in normalised crop coordinates, those within the crop, as small squares."""
    half = torch.tensor([CROP_WIDTH, CROP_HEIGHT]) / 2
    for x, y in (keypoints * half + _centre()).round().int().tolist():
        if 0 <= x < CROP_WIDTH and 0 <= y < CROP_HEIGHT:
            crop[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = colour


def _centre() -> Tensor:
    """Of the crop, in its pixels, (0, 0) being the centre of the first."""
    return torch.tensor([(CROP_WIDTH - 1) / 2, (CROP_HEIGHT - 1) / 2])
