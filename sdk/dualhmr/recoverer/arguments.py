"""What users pass to `Recoverer` and `recover`, checked before a network runs."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dualhmr.adaptation.schedule import Schedule
from dualhmr.arguments import check_type, shown, whole_number
from dualhmr.arrays import torch_installed
from dualhmr.body.arrays import BodyArrays, BodyParts
from dualhmr.body.parameters import SMPLParameters
from dualhmr.bundle import Bundle
from dualhmr.camera import CropSize
from dualhmr.engines import AUTO, check_pseudo_mesh
from dualhmr.objective.weights import WITHOUT_TARGET

if TYPE_CHECKING:
    from dualhmr.body.model import Body

# Every step is kept, and all of them take about a millisecond each.
_MAX_STEPS = 100_000


def as_body_arrays(
    body: "str | os.PathLike[str] | Body | BodyArrays | None",
) -> str | os.PathLike[str] | BodyArrays | None:
    """The path, or the body's arrays. Raises TypeError for what is no body."""
    if body is None or isinstance(body, str | os.PathLike | BodyArrays):
        return body
    # Not isinstance(body, Body), which needs PyTorch.
    to_arrays = getattr(body, "arrays", None)
    if to_arrays is None or not isinstance(body, BodyParts):
        raise TypeError(
            f"body is {shown(body)} of type {type(body).__name__}, expected a body file or a body "
            "that load_body or read_body read"
        )
    arrays: BodyArrays = to_arrays()
    return arrays


def device_name(device: object) -> str:
    """ "cpu", "cuda" or "cuda:1", of a name or of a torch.device.

    "auto" is "cuda" where PyTorch sees a GPU, else "cpu".
    """
    expected = "expected 'cpu', 'cuda', 'cuda:1', 'auto', or a torch.device"
    if device is None:
        return "cpu"
    if device == "auto":
        sees_gpu = torch_installed() and import_module("torch").cuda.is_available()
        return "cuda" if sees_gpu else "cpu"
    # Without an import of torch, which may not be installed.
    is_torchs = (type(device).__module__, type(device).__name__) == ("torch", "device")
    if not is_torchs and not isinstance(device, str):
        raise TypeError(f"device is {shown(device)} of type {type(device).__name__}, {expected}")
    name = str(device)
    if not re.fullmatch(r"cpu(:0)?|cuda(:[0-9]{1,3})?", name):
        raise ValueError(f"unknown device {shown(name)}; {expected}")
    return name.removesuffix(":0") if name.startswith("cpu") else name


def backend_for_all(backend: str) -> str:
    """That of scope "all". Raises ValueError for one that cannot adapt the backbone."""
    if backend not in (AUTO, "torch"):
        raise ValueError(
            f"scope 'all' adapts the backbone, which backend {backend!r} keeps fixed; "
            "use backend='torch'"
        )
    return "torch"


def chosen_schedule(
    bundle: Bundle,
    schedule: str | Schedule | None,
    max_steps: int | None,
    iterate: str | None = None,
) -> Schedule:
    """The schedule, by default the bundle's, with `max_steps` steps and that `iterate` as result.

    Raises TypeError or ValueError for what is no schedule, number of steps or iterate.
    """
    if not isinstance(schedule, Schedule):
        check_type("schedule", schedule, (str, type(None)), "a schedule's name or a Schedule")
        manifest = bundle.manifest
        schedule = manifest.schedule.schedule(schedule, weights=manifest.weights)
    if iterate is not None:
        check_type("iterate", iterate, (str,), "best or last")
        schedule = replace(schedule, iterate=iterate)
    if max_steps is None:
        return schedule
    steps = whole_number("max_steps", max_steps, "a number of steps")
    if steps > _MAX_STEPS:
        raise ValueError(f"max_steps is {shown(steps)}, expected at most {_MAX_STEPS}")
    return schedule.limited_to(steps)


def as_crops(crops: Any, size: CropSize) -> list[npt.NDArray[np.uint8] | None]:
    """Ready crops of `size`: one, or (P, height, width, 3) uint8, or a sequence with None.

    Raises TypeError for another type of numbers, ValueError for another shape.
    """
    if isinstance(crops, np.ndarray) and crops.ndim == 3:
        crops = crops[None]
    if not isinstance(crops, np.ndarray | Sequence) or isinstance(crops, str):
        raise TypeError(f"crops is {shown(crops)}, expected arrays of uint8, one a person")
    return [
        None if each is None else _one_crop(person, each, (*size, 3))
        for person, each in enumerate(crops)
    ]


def _one_crop(person: int, crop: Any, expected: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    dtype, shape = getattr(crop, "dtype", None), getattr(crop, "shape", None)
    if not isinstance(crop, np.ndarray) or dtype != np.uint8:
        raise TypeError(
            f"crops, person {person}: {dtype or type(crop).__name__}, expected a NumPy array of "
            "uint8, RGB"
        )
    if shape != expected:
        raise ValueError(f"crops, person {person}: shape {shape}, expected {expected}")
    return np.ascontiguousarray(crop)


def one_for_each(name: str, values: Sequence[Any] | None, persons: int) -> Sequence[Any]:
    """`values`, or None for each of `persons`. Raises ValueError for another number of them."""
    if values is None:
        return [None] * persons
    if len(values) != persons:
        raise ValueError(
            f"{len(values)} {name} came with {persons} person(s); give one for each person, None "
            "for those who have none"
        )
    return values


def as_pseudo_meshes(
    pseudo_mesh: Any, persons: int, *, beta_count: int
) -> Sequence[SMPLParameters | None]:
    """What users pass as `pseudo_mesh`: one for each person, None for the auxiliary network's.

    Raises TypeError for what is no `SMPLParameters`, ValueError for another number of persons or
    of betas than the bundle's body has.
    """
    meshes = [pseudo_mesh] if isinstance(pseudo_mesh, SMPLParameters) else pseudo_mesh
    if meshes is not None and not isinstance(meshes, list | tuple):
        raise TypeError(
            f"pseudo_mesh is {shown(meshes)} of type {type(meshes).__name__}, expected "
            "SMPLParameters, or a list of one for each person"
        )
    meshes = one_for_each("pseudo meshes", meshes, persons)
    for person, mesh in enumerate(meshes):
        if mesh is not None:
            check_pseudo_mesh(mesh, beta_count, name=f"pseudo_mesh of person {person}")
    return meshes


def check_uses_pseudo_mesh(schedule: Schedule) -> None:
    """Raises ValueError for a schedule that would ignore a pseudo mesh."""
    for phase in schedule.phases:
        if phase.losses is None or not WITHOUT_TARGET.issuperset(phase.losses):
            return
    raise ValueError(
        f"schedule {schedule.name!r} fits the keypoints alone and would ignore the pseudo mesh; "
        'use schedule="paper" (--schedule paper), which fits both'
    )
