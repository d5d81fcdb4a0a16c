from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.spin_files import everything, photograph, write
from PIL import Image

from dualhmr_training.data.augmentation import Augmentation
from dualhmr_training.data.licensed_sets import DATASETS
from dualhmr_training.data.person_dataset import Draw, open_dataset

SPLITS = [(name, split) for name, spec in DATASETS.items() for split in spec.annotation_files]


def lay_out(root: Path, name: str, split: str) -> Path:
    """A data set of one person as users have it; returns the annotations."""
    spec = DATASETS[name]
    image = root / spec.example_image
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph()).save(image)
    arrays = everything(count=1) | {"imgname": np.array([spec.example_image])}
    return write(root / spec.annotation_file(split), arrays)


def test_all_six_are_there_under_their_names() -> None:
    assert set(DATASETS) == {
        "human36m", "mpi_inf_3dhp", "coco", "mpii", "threedpw", "lsp_extended"
    }  # fmt: skip
    assert all(spec.name == name for name, spec in DATASETS.items())
    assert {n for n, s in DATASETS.items() if s.gendered} == {"human36m", "threedpw"}
    assert {n for n, s in DATASETS.items() if "test" in s.annotation_files} == {
        "human36m", "mpi_inf_3dhp", "threedpw"
    }  # fmt: skip


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_a_data_set_is_read_as_it_is_laid_out(tmp_path: Path, name: str, split: str) -> None:
    lay_out(tmp_path, name, split)
    people = open_dataset(name, tmp_path, split)
    assert len(people) == 1
    assert people.spec is DATASETS[name]
    assert people[0].image.any()


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_missing_annotations_are_named_with_where_to_get_them(
    tmp_path: Path, name: str, split: str
) -> None:
    spec = DATASETS[name]
    with pytest.raises(FileNotFoundError) as caught:
        open_dataset(name, tmp_path, split)
    message = str(caught.value)
    assert message.startswith(f"{spec.title}: no annotations at {tmp_path}")
    assert spec.annotation_file(split) in message
    assert "github.com/nkolot/SPIN" in message


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_missing_images_are_noticed_when_opening(tmp_path: Path, name: str, split: str) -> None:
    spec = DATASETS[name]
    lay_out(tmp_path, name, split)
    (tmp_path / spec.example_image).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        open_dataset(name, tmp_path, split)
    message = str(caught.value)
    assert message.startswith(f"{spec.title}: no image at {tmp_path / spec.example_image}")
    assert spec.images_from in message


def test_where_to_get_them_are_the_projects_pages() -> None:
    assert {name: spec.images_from for name, spec in DATASETS.items()} == {
        "human36m": "vision.imar.ro/human3.6m",
        "mpi_inf_3dhp": "vcai.mpi-inf.mpg.de/3dhp-dataset",
        "coco": "cocodataset.org",
        "mpii": "human-pose.mpi-inf.mpg.de",
        "threedpw": "virtualhumans.mpi-inf.mpg.de/3DPW",
        "lsp_extended": "sam.johnson.io/research/lspet.html",
    }


def test_annotations_can_lie_elsewhere(tmp_path: Path) -> None:
    path = lay_out(tmp_path / "coco", "coco", "train")
    elsewhere = path.rename(tmp_path / "of_my_own.npz")
    people = open_dataset("coco", str(tmp_path / "coco"), annotations=str(elsewhere))
    assert people[0].image.any()
    with pytest.raises(FileNotFoundError, match=r"COCO 2014: no annotations at .*other\.npz"):
        open_dataset("coco", tmp_path / "coco", annotations=tmp_path / "other.npz")


def test_options_reach_the_data_set(tmp_path: Path) -> None:
    lay_out(tmp_path, "mpii", "train")
    plain = open_dataset("mpii", tmp_path)
    first, second = (
        open_dataset("mpii", tmp_path, augmentation=Augmentation(), seed=seed) for seed in (0, 1)
    )
    assert torch.equal(plain[Draw(0, 1)].image, plain[0].image)
    assert not torch.equal(first[0].image, plain[0].image)
    assert not torch.equal(first[0].image, second[0].image)
    assert open_dataset("mpii", tmp_path, boxes="keypoints")[0].view.box_height != (
        plain[0].view.box_height
    )


def test_unknown_names_and_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown data set 'h36m'; known are human36m, mpi_inf"):
        open_dataset("h36m", tmp_path)
    with pytest.raises(ValueError, match="COCO 2014 has no split 'test'; it has train"):
        open_dataset("coco", tmp_path, "test")


def test_damaged_annotations_are_named(tmp_path: Path) -> None:
    path = lay_out(tmp_path, "coco", "train")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"coco_2014_train\.npz: damaged"):
        open_dataset("coco", tmp_path)
