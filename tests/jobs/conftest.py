from pathlib import Path

import numpy as np
import pytest
from helpers.file_trees import files_in
from PIL import Image

from dualhmr import JobOptions, run_job
from dualhmr.example import example
from dualhmr.video import VideoWriter


@pytest.fixture(scope="session")
def options() -> JobOptions:
    """Adapts by the bundle's graph, which is not compiled first."""
    return JobOptions(adaptation="onnx", save=("npz", "overlay", "glb"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crops of the example, a clip made of others, and a file that is no photograph."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    whole = Image.fromarray(example()[0]).resize((256, 256))
    for number, name in enumerate(("a.png", "deep/a.png")):
        whole.crop((0, 0, 256 - 8 * number, 256)).save(folder / name)
    with VideoWriter(folder / "deep" / "clip.mp4", fps=10) as video:
        for number in range(4):
            video.write(np.asarray(whole.crop((number, 0, 240 + number, 256))), number / 10)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="session")
def uninterrupted(
    photos: Path, options: JobOptions, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The results of all items, made by two processes; others must end in the same bytes.

    Not by this process, which may have compiled loops: see `Renewal`.
    """
    folder = tmp_path_factory.mktemp("uninterrupted")
    report = run_job(photos, folder, options=options, recursive=True, workers=2)
    assert (report.done, report.failed.keys()) == (3, {"broken.jpg"})
    return files_in(folder / "results")
