"""What is particular about a data set, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from dualhmr.camera import View, default_focal_length, image_center, image_to_crop, keypoint_box
from dualhmr.images import load_image
from dualhmr.keypoints import BODY_25
from dualhmr_training.batches import Sample
from dualhmr_training.data.annotations import Annotations
from dualhmr_training.data.augmentation import (
    JOINT_3D_MIRROR,
    KEYPOINT_MIRROR,
    UNCHANGED,
    Augmentation,
    Change,
    changed_joints,
    changed_keypoints,
    changed_rotvecs,
    changed_view,
    crop_changed,
    occlude,
)


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that users bring themselves: its licence does not let anybody else hand it on.

    Its folder holds the annotation files, and the images under the names that these give.
    """

    name: str
    """As in `open_dataset`."""
    title: str
    annotation_files: Mapping[str, str]
    """File name for every split."""
    example_image: str
    """How the images are named in the annotations, and laid out in the folder."""
    images_from: str
    """The page of the project."""
    annotations_from: str
    indoor: bool = False
    """Recorded in a studio, where nothing ever hides people: occluders are pasted in training."""
    gendered: bool = False
    """Whether the truth to evaluate against is the mesh of the person's gender."""
    gendered_betas: bool = False
    """Whether betas to train with are those of the body of the person's gender."""
    reduction: int = 1
    """Images are read at one over this of their size; so are all annotations in pixels."""

    def annotation_file(self, split: str) -> str:
        """The name of a split's file; ValueError where the data set has no such split."""
        if split not in self.annotation_files:
            raise ValueError(
                f"{self.title} has no split {split!r}; it has {', '.join(self.annotation_files)}"
            )
        return self.annotation_files[split]

    def missing_annotations(self, path: Path) -> FileNotFoundError:
        """The error that says which annotations are missing, where, and where to get them."""
        return FileNotFoundError(
            f"{self.title}: no annotations at {path}; get them from {self.annotations_from}, or "
            "say where they are with annotations="
        )

    def missing_image(self, path: Path) -> FileNotFoundError:
        """The error that says which image is missing, where, and where to get it."""
        return FileNotFoundError(
            f"{self.title}: no image at {path}; get the images from {self.images_from} and lay "
            f"them out as the annotations name them, like {self.example_image}"
        )


def load_reduced(path: Path, reduction: int) -> NDArray[np.uint8]:
    """The image at one over `reduction` of its size; every pixel counts. Raises as `load_image`."""
    image = load_image(path)
    return image if reduction == 1 else np.array(Image.fromarray(image).reduce(reduction))


def reduced_points(points_px: NDArray[np.floating], reduction: int) -> NDArray[np.float64]:
    """Image pixels (..., 2) -> pixels of the reduced image.

    It is the outer edge that stays in place, half a pixel before the first pixel's centre.
    """
    return (points_px.astype(np.float64) + 0.5) / reduction - 0.5


BoxSource = Literal["file", "keypoints"]


def person_view(
    annotations: Annotations,
    person: int,
    *,
    image_size: tuple[int, int],
    reduction: int,
    boxes: BoxSource,
) -> View:
    """The view of one person, in double precision, in pixels of the image as read.

    `image_size` is its width and height, `reduction` what the annotations have to be divided by.
    The focal length is the image's diagonal where none is annotated; `boxes` is explained at
    `PersonDataset`.
    """
    focal_length = default_focal_length(*image_size)
    if annotations.focal_length is not None:
        focal_length = float(annotations.focal_length[person]) / reduction
    center, height = annotations.box_center[person], float(annotations.box_height[person])
    if boxes == "keypoints":
        own = slice(len(BODY_25), None)
        around, around_height = keypoint_box(
            torch.from_numpy(annotations.keypoints[person, own]).double(),
            torch.from_numpy(annotations.confidence[person, own]),
        )
        if around_height > 0:  # not without two labelled keypoints
            center, height = around.numpy(), float(around_height)
    return View(
        torch.from_numpy(reduced_points(np.asarray(center), reduction)),
        torch.tensor(height / reduction, dtype=torch.float64),
        torch.tensor(focal_length, dtype=torch.float64),
        torch.tensor(image_center(*image_size), dtype=torch.float64),
    )


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
        rng = np.random.default_rng(
            np.random.SeedSequence(self._seed, spawn_key=(draw.number, index))
        )
        change = self._augmentation.draw(rng) if self._augmentation else UNCHANGED
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
            if self.spec.indoor and rng.random() < self._augmentation.occlusion:
                crop = occlude(crop, rng)
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
