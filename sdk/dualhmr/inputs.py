"""What networks read, from what users give."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from dualhmr.arrays import Array, library_of
from dualhmr.camera import View, box_info
from dualhmr.crop import crop_person
from dualhmr.keypoints import KeypointSet


def network_inputs(
    image: npt.NDArray[np.uint8],
    view: View,
    keypoints: npt.NDArray[np.float32],
    confidence: npt.NDArray[np.float32],
    *,
    source: KeypointSet,
    own: KeypointSet,
    read: Collection[str],
) -> dict[str, npt.NDArray[Any]]:
    """What networks that read the inputs named in `read` are given of one person of `image`.

    `keypoints` (1, K, 2) in normalised crop coordinates and `confidence` (1, K) are of the set
    `source`; networks read them as of their `own` set. `box_info` is there always: heads read it.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"box_info": box_info(view)}
    if "keypoints" in read:
        arrays["keypoints"] = keypoints_input(keypoints, confidence, source=source, target=own)
    if "image" in read:
        arrays["image"] = crop_person(image, view.box_center[0], float(view.box_height[0]))[None]
    return arrays


def keypoints_input(
    keypoints: Array, confidence: Array, *, source: KeypointSet, target: KeypointSet
) -> Array:
    """Keypoints of one set as a network of another set reads them: (N, K', 3).

    `keypoints` (N, K, 2) in normalised crop coordinates and `confidence` (N, K) are of `source`.
    Points are matched by name; those that `source` lacks, or that are missing, are zero. Takes and
    returns arrays of NumPy or of PyTorch.

    Raises ValueError where the shapes are not those of `source`.
    """
    if confidence.shape[1:] != (len(source),) or keypoints.shape != (*confidence.shape, 2):
        raise ValueError(
            f"keypoints {tuple(keypoints.shape)} with confidence {tuple(confidence.shape)}; "
            f"{source.name} needs (N, {len(source)}, 2) and (N, {len(source)})"
        )
    library = library_of(keypoints)
    xy = library.where((confidence <= 0)[..., None], 0.0, keypoints)
    known = library.concatenate([xy, confidence[..., None]], -1)
    absent = library.zeros_like(known[:, :1])
    position = {name: index for index, name in enumerate(source.names)}
    order = [position.get(name, len(source)) for name in target.names]
    return library.concatenate([known, absent], 1)[:, order]
