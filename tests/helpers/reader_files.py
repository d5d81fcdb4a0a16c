"""What a reader of the pages has: files by the names that pages give them, and variables."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from smplx.vertex_ids import vertex_ids

import dualhmr
from dualhmr.body.files import read_body
from dualhmr.cli import main
from dualhmr.example import example
from dualhmr.video import VideoWriter
from helpers import release_checkpoints
from helpers.fake_bodies import fake_smpl_arrays, smpl_vertex_pairs, write_smpl_pickle
from helpers.joblib_files import write_joblib_file
from helpers.small_training import write_training
from helpers.tiny_training import write_poses

SIDE = 160
"""Pixels of the photographs: small ones are drawn sooner."""
_FRAME = "000007.jpg"
"""With two persons in `write_joblib_file`."""


@functools.lru_cache(maxsize=1)
def photograph() -> Image.Image:
    """The example, smaller."""
    return Image.fromarray(example()[0]).resize((SIDE, SIDE))


def keypoints() -> np.ndarray:
    """(1, 17, 3) of the one person in the photograph."""
    given = example()[1]
    return np.concatenate([given.xy * SIDE / 512, given.confidence[..., None]], axis=2)


def _write_photograph(path: Path) -> None:
    photograph().save(path)


def _write_folder(path: Path, names: tuple[str, ...] = ("a.jpg", "b.jpg")) -> None:
    path.mkdir()
    for name in names:
        _write_photograph(path / name)


def _write_keypoints(path: Path) -> None:
    """COCO's annotations of every photograph here; of two persons in the frame."""
    names = ("photo.jpg", "a.jpg", "b.jpg", _FRAME, _FRAME)
    images = {name: number for number, name in enumerate(dict.fromkeys(names))}
    flat = (keypoints()[0] * [1, 1, 2]).ravel().tolist()
    document = {
        "images": [
            {"id": number, "file_name": name, "width": SIDE, "height": SIDE}
            for name, number in images.items()
        ],
        "annotations": [
            {"id": number, "image_id": images[name], "category_id": 1, "keypoints": flat}
            for number, name in enumerate(names)
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def _write_clip(path: Path) -> None:
    with VideoWriter(path, fps=10) as video:
        for number in range(3):
            video.write(np.asarray(photograph()), number / 10)


def _write_pseudo_mesh(path: Path) -> None:
    body = dualhmr.Recoverer().predict(photograph(), keypoints())[0].pseudo_mesh
    np.savez(path, global_orient=body.rotations[:1], body_pose=body.rotations[1:], betas=body.betas)


def _write_smpl(path: Path) -> None:
    """In SMPL's topology, with the geometry of the free body: random vertices are slow to draw."""
    body = read_body()
    more = len(fake_smpl_arrays()["v_template"]) - len(body.v_template)
    arrays = {
        name: np.concatenate([values, values[:more]]).astype(np.float32)
        for name in ("v_template", "shapedirs", "posedirs", "weights")
        for values in [getattr(body, name)]
    }
    template, ids = arrays["v_template"], vertex_ids["smplh"]
    template[:, 0] -= template[:, 0].mean()
    template[ids["nose"], 0] = 0
    for left, right in smpl_vertex_pairs():
        template[right] = template[left] * [-1, 1, 1]
    arrays["J_regressor"] = np.pad(body.joint_regressor, ((0, 0), (0, more)))
    faces = np.resize(body.faces, fake_smpl_arrays()["f"].shape)
    write_smpl_pickle(path, fake_smpl_arrays() | arrays | {"f": faces.astype(np.uint32)})


def _write_bundle(path: Path) -> None:
    """Of networks of SMPL, for PyTorch alone."""
    checkpoint = path.with_suffix(".pt")
    release_checkpoints.write_meta_hmr(checkpoint, "resnet")
    assert main(["export", str(checkpoint), "--format", "torch", "--out", str(path)]) == 0


def _write_auxiliary(path: Path) -> None:
    shutil.copy(dualhmr.open_bundle().folder / "auxiliary.onnx", path)


FILES: dict[str, Callable[[Path], object]] = {
    "photo.jpg": _write_photograph,
    "a.jpg": _write_photograph,
    "photos": _write_folder,
    "more": functools.partial(_write_folder, names=("c.jpg",)),
    "frames": functools.partial(_write_folder, names=(_FRAME,)),
    _FRAME: _write_photograph,
    "paths.txt": lambda path: path.write_text("photos/b.jpg\n", encoding="utf-8"),
    "clip.mp4": _write_clip,
    "person_keypoints.json": _write_keypoints,
    "points.json": lambda path: path.write_text(json.dumps(keypoints().tolist())),
    "k.json": _write_keypoints,
    "result.npz": _write_pseudo_mesh,
    "demo_clip.pkl": write_joblib_file,
    "mine.onnx": _write_auxiliary,
    "recovery.npz": lambda path: dualhmr.recover(photograph(), keypoints()).save(path),
    "SMPL_NEUTRAL.pkl": _write_smpl,
    # A ResNet, which is built in a tenth of the time.
    "cliff_hrnet_3dpw.pt": functools.partial(release_checkpoints.write_meta_hmr, backbone="resnet"),
    "hmr.pt": release_checkpoints.write_spin,
    "smpl_mean_params.npz": release_checkpoints.write_mean_params,
    "epoch=35-step=1000000.ckpt": release_checkpoints.write_hmr2,
    "runs/demo": write_training,
    "poses.npz": write_poses,
    "my_bundle": _write_bundle,
}
"""What writes each file; a page gets those that its blocks name."""


def variables() -> dict[str, Any]:
    """What blocks of Python use and leave to the reader."""
    rng = np.random.default_rng(0)
    return {
        "keypoints": keypoints(),
        "frame_keypoints": np.tile(keypoints(), (2, 1, 1)),
        "images": [np.asarray(photograph())] * 3,
        "paths": ["photo.jpg", "photo.jpg"],
        "camera": iter([np.asarray(photograph()), "not_there.jpg"]),
        "my_network": lambda _: (keypoints()[..., :2], keypoints()[..., 2]),
        "my_regressor": lambda _: dualhmr.SMPLParameters(np.tile(np.eye(3), (24, 1, 1))),
        "rotations": np.tile(np.eye(3), (24, 1, 1)),
        "betas": np.zeros(10),
        "rotvecs": 0.1 * rng.normal(size=(6, 24, 3)),
        "clips": ["walk", "walk", "run", "run", "jump", "jump"],
    }
