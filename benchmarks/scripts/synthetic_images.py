"""How fast synthetic images are made, and what they look like.

    python benchmarks/scripts/synthetic_images.py POSES.npz [--sheet sheet.png]

Prints crops per second with no worker, one and two; the sheet shows crops with keypoints: red as
the detector reports them, green the true ones.
"""

import argparse
import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dualhmr.body.model import load_body
from dualhmr_training.contact_sheet import dot_keypoints
from dualhmr_training.data.synthetic.batches import PicturedPeople, SyntheticImages
from dualhmr_training.data.synthetic.poses import read_poses

_WARM_UP = 4
_RED, _LIME = (255, 0, 0), (0, 255, 0)


def crops_per_second(data: SyntheticImages, *, workers: int, batches: int) -> float:
    """Throughput of a loader after its first batches."""
    loader = iter(DataLoader(data, batch_size=None, num_workers=workers))
    for _ in range(_WARM_UP):
        next(loader)
    start = time.perf_counter()
    crops = sum(len(next(loader).images) for _ in range(batches))
    return crops / (time.perf_counter() - start)


def crop_grid(batches: Iterable[PicturedPeople], *, marked: bool) -> Image.Image:
    """A row of crops for each batch, with their keypoints if `marked`."""
    rows = []
    for people, images in batches:
        crops = images.numpy().copy()
        for person, crop in enumerate(crops if marked else ()):
            reported = people.confidence[person] > 0
            dot_keypoints(crop, people.detected[person][reported], colour=_RED, radius=2.5)
            in_view = people.in_view[person]
            dot_keypoints(crop, people.keypoints[person][in_view], colour=_LIME, radius=1.5)
        rows.append(np.hstack(crops))
    return Image.fromarray(np.vstack(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, measures, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("poses", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="an image file to write")
    parser.add_argument("--plain", action="store_true", help="no keypoints on the sheet")
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--rows", type=int, default=5)
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    pool = read_poses(options.poses).rotvecs
    data = SyntheticImages(load_body(), pool, seed=options.seed, batch=options.batch)
    for workers in options.workers:
        speed = crops_per_second(data, workers=workers, batches=options.batches)
        print(f"{workers} workers: {speed:.0f} crops/s", flush=True)
    if options.sheet:
        sheet = SyntheticImages(load_body(), pool, seed=options.seed, batch=options.columns)
        batches = itertools.islice(sheet, options.rows)
        crop_grid(batches, marked=not options.plain).save(options.sheet)


if __name__ == "__main__":
    main()
