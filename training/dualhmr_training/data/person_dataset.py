"""A licensed data set as a PyTorch data set: photographs and annotations -> training samples."""

import os
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dualhmr.camera import FOCAL_LENGTHS, View, image_center, image_to_crop, keypoint_box
from dualhmr.crop import crop_convention, crop_person
from dualhmr.images import load_image
from dualhmr.keypoints import BODY_25
from dualhmr_training.data.annotations import Annotations, read_annotations
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
from dualhmr_training.data.licensed_sets import DATASETS, DatasetSpec

BoxSource = Literal["file", "keypoints"]


class Sample(NamedTuple):
    """A person, or a batch of N of them with the person axis first, as a `DataLoader` makes it.

    2D keypoints are the release's 49: OpenPose's 25 (`BODY_25`), then the 24 that data sets
    annotate (`SPIN_24`).
    """

    image: Tensor
    """(256, 192, 3) uint8 RGB crop, or of the size of another convention."""
    keypoints: Tensor
    """(49, 2) normalised crop coordinates."""
    confidence: Tensor
    """(49,) zero where a keypoint is not annotated."""
    joints_3d: Tensor
    """(24, 3) metres, `SPIN_24`, camera orientation, the data set's own origin."""
    joints_3d_confidence: Tensor
    """(24,) zero where a joint is not annotated."""
    rotvecs: Tensor
    """(24, 3) radians, SMPL's pose; joint 0 is the orientation in the camera frame."""
    betas: Tensor
    """(10,)."""
    has_mesh: Tensor
    """() bool: whether `rotvecs` and `betas` are annotated."""
    gender: Tensor
    """() 1 (male) or 2 (female) where `betas` are of that gender's body, 0 of the neutral one."""
    view: View
    """In pixels of the photograph as it was read, mirrored and turned like the person."""


class Draw(NamedTuple):
    """An index as samplers yield it; a plain index is draw 0 of that person.

    Augmentation depends on the data set's seed and these two numbers alone, not on the worker that
    loads the sample or on what was loaded before.
    """

    person: int
    number: int
    """Which draw of the training it is, counted from its first; or an epoch."""


class PersonDataset(Dataset[Sample]):
    """N persons.

    Boxes are those of the annotation file or, with `boxes="keypoints"`, drawn around the data
    set's own 2D keypoints as in the paper's release; persons with fewer than two of these keep the
    file's box.

    A sample's view is in pixels of the image as read, at 1 / `spec.reduction` of its size, mirrored
    and turned as in `augmentation.py`. Positions that are not annotated are zero, with confidence
    zero.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        annotations: Annotations,
        folder: Path,
        *,
        augmentation: Augmentation | None = None,
        boxes: BoxSource = "file",
        crop: str = "dualhmr",
        focal_length: str = "diagonal",
        seed: int = 0,
    ) -> None:
        """Without `augmentation` a sample is the plain crop, always the same.

        `focal_length` is the guess for images whose own is not annotated, one of `FOCAL_LENGTHS`.

        Plain crops are made as `crop` says, one of `CROP_CONVENTIONS`; augmented ones are of our
        own convention. Raises ValueError for another one together with `augmentation`.
        """
        if augmentation and crop != "dualhmr":
            raise ValueError(f"augmented crops are made as 'dualhmr' says, not {crop!r}")
        if boxes not in get_args(BoxSource):
            raise ValueError(f"boxes come from 'file' or 'keypoints', not {boxes!r}")
        self.spec = spec
        self.annotations = annotations
        self._folder = folder
        self._augmentation = augmentation
        self._boxes: BoxSource = boxes
        self._crop = crop_convention(crop)
        self._guess_focal_length = FOCAL_LENGTHS[focal_length]
        self._seed = seed

    def __len__(self) -> int:
        """N."""
        return len(self.annotations)

    def image_path(self, index: int) -> Path:
        """The file that shows a person."""
        return self._folder / str(self.annotations.image_names[index])

    def gender(self, index: int) -> str | None:
        """A person's "m" or "f"; None where it is not annotated."""
        genders = self.annotations.genders
        return None if genders is None else str(genders[index])

    def __getitem__(self, which: int | Draw) -> Sample:
        """A person; IndexError beyond the last.

        Raises FileNotFoundError, which says where to get the image, and ValueError for a damaged
        image.
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
        image = load_image(path)
        if self.spec.reduction > 1:
            image = np.array(Image.fromarray(image).reduce(self.spec.reduction))
        view = self._view(index, image_size=(image.shape[1], image.shape[0]))
        box = view.box_center.numpy(), float(view.box_height)
        if change is UNCHANGED:
            crop = crop_person(image, *box, convention=self._crop.name)
        else:
            crop = crop_changed(image, *box, change)
        if self._augmentation:
            if self.spec.indoor and rng.random() < self._augmentation.occlusion:
                crop = occlude(crop, rng)
            crop = np.rint(crop * np.array(change.colour)).clip(0, 255).astype(np.uint8)
        return self._sample(index, crop, view, change)

    def _view(self, index: int, *, image_size: tuple[int, int]) -> View:
        """A person's view in double precision, in pixels of the image of `image_size` as read.

        Without an annotated focal length it is a guess.
        """
        annotations, reduction = self.annotations, self.spec.reduction
        focal_length = self._guess_focal_length(*image_size)
        if annotations.focal_length is not None:
            focal_length = float(annotations.focal_length[index]) / reduction
        center, height = annotations.box_center[index], float(annotations.box_height[index])
        if self._boxes == "keypoints":
            own = slice(len(BODY_25), None)
            around, around_height = keypoint_box(
                torch.from_numpy(annotations.keypoints[index, own]).double(),
                torch.from_numpy(annotations.confidence[index, own]),
                size=self._crop.size,
                margin=self._crop.margin,
            )
            if around_height > 0:  # not without two labelled keypoints
                center, height = around.numpy(), float(around_height)
        return View(
            torch.from_numpy(_reduced_points(center, reduction)),
            torch.tensor(height / reduction, dtype=torch.float64),
            torch.tensor(focal_length, dtype=torch.float64),
            torch.tensor(image_center(*image_size), dtype=torch.float64),
        )

    def _sample(self, index: int, crop: NDArray[np.uint8], view: View, change: Change) -> Sample:
        annotations = self.annotations
        points_px = _reduced_points(annotations.keypoints[index], self.spec.reduction)
        keypoints_px = changed_keypoints(torch.from_numpy(points_px), view, change)
        new_view = changed_view(view, change)
        keypoints = image_to_crop(keypoints_px, new_view, self._crop.size)
        joints_3d = changed_joints(torch.from_numpy(annotations.joints_3d[index]).double(), change)
        confidence = torch.tensor(annotations.confidence[index])
        joints_3d_confidence = torch.tensor(annotations.joints_3d_confidence[index])
        if change.mirror:
            keypoints, confidence = keypoints[KEYPOINT_MIRROR], confidence[KEYPOINT_MIRROR]
            joints_3d = joints_3d[JOINT_3D_MIRROR]
            joints_3d_confidence = joints_3d_confidence[JOINT_3D_MIRROR]
        rotvecs = torch.from_numpy(annotations.rotvecs[index]).double()
        has_mesh = bool(annotations.has_mesh[index])
        gender = self.gender(index) if self.spec.gendered_betas else None
        return Sample(
            image=torch.from_numpy(crop),
            keypoints=keypoints.masked_fill(confidence[:, None] == 0, 0.0).float(),
            confidence=confidence,
            joints_3d=joints_3d.masked_fill(joints_3d_confidence[:, None] == 0, 0.0).float(),
            joints_3d_confidence=joints_3d_confidence,
            rotvecs=(changed_rotvecs(rotvecs, change) if has_mesh else rotvecs).float(),
            betas=torch.tensor(annotations.betas[index]),
            has_mesh=torch.tensor(has_mesh),
            gender=torch.tensor((None, "m", "f").index(gender)),
            view=View(*(part.float() for part in new_view)),
        )


def _reduced_points(points_px: NDArray[np.floating], reduction: int) -> NDArray[np.float64]:
    """Image pixels (..., 2) -> pixels of the reduced image.

    The image's outer edge stays in place, half a pixel before the centre of the first pixel.
    """
    return (points_px.astype(np.float64) + 0.5) / reduction - 0.5


def open_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str = "train",
    *,
    annotations: str | os.PathLike[str] | None = None,
    augmentation: Augmentation | None = None,
    boxes: BoxSource = "file",
    crop: str = "dualhmr",
    focal_length: str = "diagonal",
    seed: int = 0,
) -> PersonDataset:
    """Opens one of `DATASETS` in its folder `root`.

    `annotations` replaces the split's usual file in `root`; the other options are those of
    `PersonDataset`.

    Raises ValueError for an unknown name or split and for damaged annotations. Raises
    FileNotFoundError, which names the data set and where to get the file, for missing annotations
    and for a missing first image.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    spec, root = DATASETS[name], Path(root)
    usual = root / spec.annotation_file(split)
    path = usual if annotations is None else Path(annotations)
    if not path.is_file():
        raise spec.missing_annotations(path)
    dataset = PersonDataset(
        spec,
        read_annotations(path),
        root,
        augmentation=augmentation,
        boxes=boxes,
        crop=crop,
        focal_length=focal_length,
        seed=seed,
    )
    # Check one image now: the alternative is an error from a worker after the networks are built.
    if not dataset.image_path(0).is_file():
        raise spec.missing_image(dataset.image_path(0))
    return dataset
