"""What the authors' code computes, kept beside the repository; see its own README."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualhmr.body.model import Body, load_body
from dualhmr.camera import View, default_focal_length, image_center, keypoint_box
from dualhmr.networks import RegressorHead
from helpers.fake_bodies import write_smpl_npz

NETWORKS = ("hmr_resnet", "cliff_resnet", "cliff_hrnet")
ITERATIONS = {"main": 10, "auxiliary": 3}
PERSONS = (0, 1)
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Goldens:
    """The folder, and the persons in it."""

    folder: Path
    shapes: Path
    people: Arrays
    facts: dict[str, Any]
    make: ModuleType

    @staticmethod
    def of(shared: Path) -> "Goldens":
        folder = shared / "goldens"
        return Goldens(
            folder,
            shared / "formats",
            load(folder / "people.npz"),
            json.loads((folder / "goldens.json").read_text()),
            _script(folder / "make_checkpoint.py"),
        )

    def computed(self, network: str) -> Arrays:
        """What the authors' code makes of the persons with this network."""
        return load(self.folder / f"{network}.npz")

    def state(self, network: str, role: str) -> dict[str, Tensor]:
        """The network's state dict, as the release saves it."""
        statistics = load(self.folder / "statistics.npz")
        made = self.make.network(self.facts["seed"], self.shapes, network, role, statistics)
        assert self.make.digest(made) == self.facts["digests"][f"{network}.{role}"]
        return {name: torch.from_numpy(np.array(array)) for name, array in made.items()}

    def head(self, network: str) -> RegressorHead:
        """The main network's head alone."""
        seed, key = self.facts["seed"], f"{network}.main"
        shapes = self.make.shapes(self.shapes, network, "main")
        scales = load(self.folder / "statistics.npz")[f"{key}.factors"].astype(float).tolist()
        factors = dict(zip(("decpose", "decshape", "deccam"), scales, strict=True))
        box = network.startswith("cliff")
        own = ("fc1", "fc2", "decpose", "decshape", "deccam", "init_pose", "init_shape", "init_cam")
        state = {
            name: torch.from_numpy(
                np.array(self.make.tensor(seed, key, name, shape, factors), np.float32)
            )
            for name, shape in shapes.items()
            if name.partition(".")[0] in own
        }
        features = state["fc1.weight"].shape[1] - 157 - 3 * box
        head = RegressorHead(features, reads_box_info=box, iterations=ITERATIONS["main"])
        head.load_state_dict(state)
        return head.requires_grad_(False)

    def body(self, folder: Path) -> Body:
        """The body with SMPL's layout and SPIN's extra joints, by way of a file in `folder`."""
        arrays, extra = self.make.body(self.facts["seed"])
        return load_body(
            write_smpl_npz(folder / "smpl.npz", {**arrays, "J_regressor_extra": extra})
        )

    def view(self) -> View:
        """Boxes and cameras of both persons, from their keypoints alone."""
        keypoints = self.people["keypoints"].astype(np.float32)
        center, height = keypoint_box(keypoints[..., :2], keypoints[..., 2])
        sizes = [tuple(map(int, size)) for size in self.people["image_size"]]
        focal_length = np.array([default_focal_length(*size) for size in sizes], np.float32)
        centers = np.array([image_center(*size) for size in sizes], np.float32)
        return View(center, height, focal_length, centers)

    def inputs(self) -> dict[str, Tensor]:
        """The networks' inputs: the kept crops."""
        return {
            "image": torch.from_numpy(self.people["crops"]),
            "box_info": torch.from_numpy(self.people["box_info"]),
        }


def load(path: Path) -> Arrays:
    with np.load(path) as file:
        return dict(file)


def _script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_checkpoint", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
