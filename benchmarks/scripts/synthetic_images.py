"""How fast synthetic pictures are made, and what they look like.

    python benchmarks/scripts/synthetic_images.py POSES.npz [--sheet sheet.png]

Prints crops per second with no worker, one and two; the sheet shows crops with their keypoints:
what the detector reports in red, the truth in green.
"""

import argparse
import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader

from dualhmr.body.model import load_body
from dualhmr.camera import CROP_HEIGHT, CROP_WIDTH
from dualhmr_training.data.synthetic.batches import PicturedPeople, SyntheticImages
from dualhmr_training.data.synthetic.poses import read_poses

_WARM_UP = 4


def crops_per_second(data: SyntheticImages, *, workers: int, batches: int) -> float:
    """Throughput of a loader after its first batches."""
    loader = iter(DataLoader(data, batch_size=None, num_workers=workers))
    for _ in range(_WARM_UP):
        next(loader)
    start = time.perf_counter()
    crops = sum(len(next(loader).images) for _ in range(batches))
    return crops / (time.perf_counter() - start)


def contact_sheet(batches: Iterable[PicturedPeople], *, columns: int, marked: bool) -> Image.Image:
    """All crops of some batches in rows, with their keypoints if `marked`."""
    crops = []
    for people, images in batches:
        for i, image in enumerate(images.numpy()):
            crop = Image.fromarray(image)
            if marked:
                pen = ImageDraw.Draw(crop)
                _mark(pen, people.detected[i][people.confidence[i] > 0], "red", radius=2)
                _mark(pen, people.keypoints[i][people.in_view[i]], "lime", radius=1)
            crops.append(np.asarray(crop))
    crops += [np.zeros_like(crops[0])] * (-len(crops) % columns)
    rows = [np.hstack(crops[i : i + columns]) for i in range(0, len(crops), columns)]
    return Image.fromarray(np.vstack(rows))


def _mark(pen: ImageDraw.ImageDraw, points: torch.Tensor, colour: str, *, radius: int) -> None:
    size = torch.tensor([CROP_WIDTH, CROP_HEIGHT])
    for x, y in ((points + 1) * size / 2 - 0.5).tolist():
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, measures, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("poses", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="a picture file to write")
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
        contact_sheet(batches, columns=options.columns, marked=not options.plain).save(
            options.sheet
        )


if __name__ == "__main__":
    main()
