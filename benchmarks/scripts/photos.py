"""How well bodies fit the keypoints of real photographs, before and after adaptation.

    python benchmarks/scripts/photos.py PHOTOS --keypoints person_keypoints.json [--out DIR]

The error of a person is the mean distance of the labelled keypoints from the model's, divided by
the height of the person's box. Look at the pictures in `--out` too: a good fit to the keypoints
is necessary, but does not prove that the pose is right.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dualhmr import Recoverer, Recovery
from dualhmr.adaptation.schedule import SCHEDULE_NAMES
from dualhmr.camera import keypoint_box
from dualhmr.cli.photographs import folder_names
from dualhmr.files import markdown_table
from dualhmr.images import list_images, load_image
from dualhmr.keypoints import open_keypoint_file
from dualhmr.outputs import write_outputs


class PhotoRow(NamedTuple):
    """One person; errors in percent of the box height."""

    photo: str
    person: int
    before: float
    after: float
    steps: int
    stop_reason: str


def measure(photo: str, recovery: Recovery) -> Iterator[PhotoRow]:
    """The errors of every person in one photograph."""
    for person in recovery:
        xy, confidence = person.keypoints.xy, person.keypoints.confidence
        _, height = keypoint_box(torch.from_numpy(xy), torch.from_numpy(confidence))
        before, after = 100 * person.reprojection_px[0] / height.numpy()
        steps, reason = int(person.steps[0]), person.stop_reason[0]
        yield PhotoRow(photo, int(person.persons[0]), float(before), float(after), steps, reason)


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line, prints a table; 1 if anybody is worse after than before."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--keypoints", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--schedule", choices=SCHEDULE_NAMES)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)

    recoverer = Recoverer(options.bundle)
    keypoints = open_keypoint_file(options.keypoints)
    rows: list[PhotoRow] = []
    paths = list_images(options.photos)
    folders = folder_names([path.name for path in paths])
    for path, folder in zip(paths, folders, strict=True):
        image = load_image(path)
        people = keypoints.keypoints(image_name=path.name, image_size=image.shape[1::-1])
        recovery = recoverer.recover(image, people, schedule=options.schedule)
        rows += measure(path.name, recovery)
        if options.out:
            write_outputs(recovery, image, options.out / folder)
    print(_table(rows))
    worse = [row for row in rows if row.after >= row.before]
    print(f"{len(rows)} persons, {len(worse)} not better after adaptation", file=sys.stderr)
    return 1 if worse else 0


def _table(rows: list[PhotoRow]) -> str:
    cells = [("photo", "person", "before, % of box", "after", "steps", "stopped")]
    for row in rows:
        errors = (f"{row.before:.2f}", f"{row.after:.2f}")
        cells.append((row.photo, str(row.person), *errors, str(row.steps), row.stop_reason))
    before, after = (np.median([getattr(row, end) for row in rows]) for end in ("before", "after"))
    cells.append(("median", "", f"{before:.2f}", f"{after:.2f}", "", ""))
    return markdown_table(cells)


if __name__ == "__main__":
    sys.exit(main())
