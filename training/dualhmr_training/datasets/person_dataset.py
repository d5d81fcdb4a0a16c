"""One data set: annotated persons in image files -> `Sample`, augmented for training."""

from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dualhmr.camera import View, image_to_crop
from dualhmr_training.datasets.annotations import Annotations
from dualhmr_training.datasets.augmentation import UNCHANGED, Augmentation, Change
from dualhmr_training.datasets.changed_person import (
    JOINT_3D_MIRROR,
    KEYPOINT_MIRROR,
    changed_joints,
    changed_keypoints,
    changed_rotvecs,
    changed_view,
)
from dualhmr_training.datasets.occluders import occlude
from dualhmr_training.datasets.person_view import BoxSource, person_view
from dualhmr_training.datasets.reduction import load_reduced, reduced_points
from dualhmr_training.datasets.spec import DatasetSpec
from dualhmr_training.datasets.turned_crop import crop_changed
from dualhmr_training.samples import Sample


class Draw(NamedTuple):
    """What to load, as samplers ask for it; a plain index is draw 0 of that person.

    Augmentation is a function of the data set's seed and of both numbers: it depends neither on
    the worker that loads the sample nor on what was loaded before.
    """

    person: int
    number: int
    """Which draw of the training it is, counted from its first; or an epoch."""


class PersonDataset(Dataset[Sample]):
    """N persons.

    Boxes are the file's (its centre, and its scale times 200 pixels for the height), or, with
    `boxes="keypoints"`, drawn around the data set's own 2D keypoints as in the paper's release;
    who has fewer than two of these keeps the file's.

    A sample's view is in pixels of the image as read, at one over `spec.reduction` of its size,
    mirrored and turned as `changed_person` says. Positions that are not annotated are zero, with
    confidence zero.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        annotations: Annotations,
        folder: Path,
        *,
        augmentation: Augmentation | None = None,
        boxes: BoxSource = "file",
        seed: int = 0,
    ) -> None:
        """Without `augmentation` a sample is the plain crop, always the same."""
        if boxes not in get_args(BoxSource):
            raise ValueError(f"boxes come from 'file' or 'keypoints', not {boxes!r}")
        self.spec = spec
        self.annotations = annotations
        self._folder = folder
        self._augmentation = augmentation
        self._boxes: BoxSource = boxes
        self._seed = seed

    def __len__(self) -> int:
        """Return N."""
        return len(self.annotations)

    def image_path(self, index: int) -> Path:
        """The file that shows a person."""
        return self._folder / str(self.annotations.image_names[index])

    def gender(self, index: int) -> str | None:
        """A person's "m" or "f"; None where the file does not tell."""
        genders = self.annotations.genders
        return None if genders is None else str(genders[index])

    def __getitem__(self, which: int | Draw) -> Sample:
        """A person; IndexError beyond the last.

        Raises FileNotFoundError saying where to get the image, ValueError for a damaged one.
        """
        draw = which if isinstance(which, Draw) else Draw(which, 0)
        index = range(len(self))[draw.person]
        dice = np.random.default_rng(
            np.random.SeedSequence(self._seed, spawn_key=(draw.number, index))
        )
        change = self._augmentation.draw(dice) if self._augmentation else UNCHANGED
        path = self.image_path(index)
        if not path.exists():
            raise self.spec.missing_image(path)
        image = load_reduced(path, self.spec.reduction)
        view = person_view(
            self.annotations,
            index,
            image_size=(image.shape[1], image.shape[0]),
            reduction=self.spec.reduction,
            boxes=self._boxes,
        )
        crop = crop_changed(image, view.box_center.numpy(), float(view.box_height), change)
        if self._augmentation:
            if self.spec.indoor and dice.random() < self._augmentation.occlusion:
                crop = occlude(crop, dice)
            crop = np.rint(crop * np.array(change.colour)).clip(0, 255).astype(np.uint8)
        return self._sample(index, crop, view, change)

    def _sample(self, index: int, crop: NDArray[np.uint8], view: View, change: Change) -> Sample:
        known = self.annotations
        keypoints_px = torch.from_numpy(reduced_points(known.keypoints[index], self.spec.reduction))
        new_view = changed_view(view, change)
        keypoints = image_to_crop(changed_keypoints(keypoints_px, view, change), new_view)
        joints_3d = changed_joints(torch.from_numpy(known.joints_3d[index]).double(), change)
        confidence = torch.tensor(known.confidence[index])
        joints_3d_confidence = torch.tensor(known.joints_3d_confidence[index])
        if change.mirror:
            keypoints, confidence = keypoints[KEYPOINT_MIRROR], confidence[KEYPOINT_MIRROR]
            joints_3d = joints_3d[JOINT_3D_MIRROR]
            joints_3d_confidence = joints_3d_confidence[JOINT_3D_MIRROR]
        rotvecs = torch.from_numpy(known.rotvecs[index]).double()
        has_mesh = bool(known.has_mesh[index])
        gender = self.gender(index) if self.spec.gendered_betas else None
        return Sample(
            image=torch.from_numpy(crop),
            keypoints=keypoints.masked_fill(confidence[:, None] == 0, 0.0).float(),
            confidence=confidence,
            joints_3d=joints_3d.masked_fill(joints_3d_confidence[:, None] == 0, 0.0).float(),
            joints_3d_confidence=joints_3d_confidence,
            rotvecs=(changed_rotvecs(rotvecs, change) if has_mesh else rotvecs).float(),
            betas=torch.tensor(known.betas[index]),
            has_mesh=torch.tensor(has_mesh),
            gender=torch.tensor((None, "m", "f").index(gender)),
            view=View(*(part.float() for part in new_view)),
        )
