"""Recover everybody in a folder of photographs, with keypoints from one COCO annotation file.

Run: python examples/folder_of_photos.py PHOTOS person_keypoints.json --out results

The photographs are read and recovered side by side, and their results come in order.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import dualhmr
from dualhmr.keypoints import open_keypoint_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("photos", type=Path, help="folder of .jpg files")
parser.add_argument("keypoints", type=Path, help="COCO's person_keypoints JSON, or another file")
parser.add_argument("--out", type=Path, default=Path("dualhmr-out"), help="folder of the results")
options = parser.parse_args()
annotations = open_keypoint_file(options.keypoints)  # reads the file once


def reader(path: Path) -> Callable[[], dualhmr.Photo]:
    """Called by a thread when it is the photograph's turn."""
    return lambda: dualhmr.Photo(path, annotations.keypoints(image_name=path.name))


options.out.mkdir(parents=True, exist_ok=True)
paths = sorted(options.photos.glob("*.jpg"))
for path, result in zip(paths, dualhmr.Recoverer().stream(map(reader, paths)), strict=True):
    if isinstance(result, dualhmr.FailedPhoto):  # not annotated, or damaged
        print(f"{path.name}: {result.error}")
        continue
    result.save(options.out / f"{path.stem}.npz")
    errors = ", ".join(f"{after:.1f} px" for _, after in result.reprojection_px)
    print(f"{path.name}: {len(result)} persons, mean keypoint error {errors}")
    for person, reason in result.skipped:
        print(f"  person {person} skipped: {reason}")
