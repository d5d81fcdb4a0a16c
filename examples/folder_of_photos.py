"""Recover everybody in a folder of photographs, with keypoints from one COCO annotation file.

Run: python examples/folder_of_photos.py PHOTOS person_keypoints.json --out results
"""

import argparse
from pathlib import Path

import dualhmr
from dualhmr.keypoints import open_keypoint_file

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("photos", type=Path, help="folder of .jpg files")
parser.add_argument("keypoints", type=Path, help="COCO's person_keypoints JSON, or another file")
parser.add_argument("--out", type=Path, default=Path("dualhmr-out"), help="folder of the results")
options = parser.parse_args()

options.out.mkdir(parents=True, exist_ok=True)
recoverer = dualhmr.Recoverer()  # opens the networks once
annotations = open_keypoint_file(options.keypoints)  # reads the file once
for photo in sorted(options.photos.glob("*.jpg")):
    try:
        keypoints = annotations.keypoints(image_name=photo.name)
        recovery = recoverer.recover(photo, keypoints)
    except ValueError as error:  # not annotated, or nobody can be recovered
        print(f"{photo.name}: {error}")
        continue
    recovery.save(options.out / f"{photo.stem}.npz")
    errors = ", ".join(f"{after:.1f} px" for _, after in recovery.reprojection_px)
    print(f"{photo.name}: {len(recovery)} persons, mean keypoint error {errors}")
    for person, reason in recovery.skipped:
        print(f"  person {person} skipped: {reason}")
