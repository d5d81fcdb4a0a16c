"""`recover`: one photograph in one call."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dualhmr.adaptation.schedule import Schedule
from dualhmr.body.parameters import SMPLParameters
from dualhmr.bundle import Bundle
from dualhmr.detection import AnyDetector
from dualhmr.engines import AUTO, Auxiliary
from dualhmr.keypoints import MIN_CONFIDENCE, KeypointSet
from dualhmr.recoverer.recoverer import Recoverer
from dualhmr.recovery import Recovery

if TYPE_CHECKING:
    import torch


def recover(
    image: Any,
    keypoints: Any = None,
    *,
    scores: Any = None,
    score_scale: float = 1.0,
    min_confidence: float = MIN_CONFIDENCE,
    keypoint_set: str | KeypointSet | None = None,
    bundle: str | os.PathLike[str] | Bundle | None = None,
    schedule: str | Schedule | None = None,
    max_steps: int | None = None,
    iterate: str | None = None,
    focal_length: float | None = None,
    principal_point: tuple[float, float] | None = None,
    device: "str | torch.device | None" = None,
    backend: str = AUTO,
    adaptation: str = AUTO,
    boxes: Any = None,
    crops: Any = None,
    pseudo_mesh: SMPLParameters | Sequence[SMPLParameters | None] | None = None,
    auxiliary: "str | os.PathLike[str] | Auxiliary | None" = None,
    detector: AnyDetector | None = None,
) -> Recovery:
    """Recovers the bodies of the persons whose 2D keypoints are passed, or are found.

    For many photographs, build a `Recoverer` once; see its `recover_batch` and `stream`.

    Args:
        image: A path, the bytes of a file, a PIL image or an (H, W, 3) uint8 RGB array. EXIF
            orientation is applied; see `load_image` for images that were turned by hand.
        keypoints: (K, 2), (K, 3) with confidences, or the same for P persons, in image pixels;
            (0, 0) is the centre of the top-left pixel. None: `detector` finds people and their
            keypoints, unless there are boxes.
        scores: (K,) or (P, K) confidences, for detectors that return them separately (rtmlib).
        score_scale: The best score of the detector, by which confidences are divided.
        min_confidence: Keypoints below it count as missing (0.3; the authors' release: 0).
        keypoint_set: What the K keypoints are. Inferred from K if left out.
        bundle: A folder that `dualhmr export` wrote. None: the default networks.
        schedule: "paper", "trained", "release" or "eft". None: the bundle's.
        max_steps: 14 by default, 15 for "release".
        iterate: "best" returns the iterate with the lowest loss, "last" the last one. None: "best",
            but for "release".
        focal_length: Image pixels. None: the guess of the bundle's networks, mostly the image's
            diagonal.
        principal_point: Image pixels. None: the image's centre.
        device: "cpu" (default), "cuda", "cuda:1", "auto" for a GPU where PyTorch sees one, or a
            torch.device.
        backend: Runs the frozen networks: "onnxruntime", "tensorrt", "torch", or "auto", the
            fastest that works here.
        adaptation: "numba", "torch", "onnx", "tensorrt", or "auto", the fastest that is
            installed; see `Recoverer`.
        boxes: What the networks see of each person: (4,) or (P, 4) x0, y0, x1, y1, a detector's
            rectangles, which get the margin that a rectangle of keypoints gets; or `Box`es; None
            for a person whose box is to be made from the keypoints.
        crops: Ready crops, (256, 192, 3) or (P, 256, 192, 3) uint8 RGB, which image networks read
            as they are; with the boxes that they were made of.
        pseudo_mesh: `SMPLParameters` of each person, in the camera frame, in place of what the
            auxiliary network says; None for a person for whom it is asked.
        auxiliary: Predicts all pseudo meshes, see `Recoverer`.
        detector: Where neither keypoints nor boxes are passed: "movenet" (None), which is part of
            this package, another name of `dualhmr.open_detector`, or a callable from an image
            (H, W, 3) uint8 RGB to `Detections`, or to keypoints (P, K, 2) and scores (P, K).
            Confidences are the scores, along `Detections.score_range`.

    Returns:
        The recovered persons, perhaps none. Persons without six plausible keypoints that the body
        has are listed in `Recovery.skipped`; what cannot be right, in `Recovery.warnings`.

    Raises:
        FileNotFoundError, TypeError, ValueError: An argument cannot be used. The message
            says what came, what was expected and what to do.
        ImportError, RuntimeError: The device or the backend is not available, or fails.
    """
    recoverer = Recoverer(
        bundle,
        device=device,
        backend=backend,
        adaptation=adaptation,
        auxiliary=auxiliary,
        detector=detector,
    )
    return recoverer.recover(
        image,
        keypoints,
        boxes=boxes,
        crops=crops,
        pseudo_mesh=pseudo_mesh,
        scores=scores,
        score_scale=score_scale,
        min_confidence=min_confidence,
        keypoint_set=keypoint_set,
        schedule=schedule,
        max_steps=max_steps,
        iterate=iterate,
        focal_length=focal_length,
        principal_point=principal_point,
    )
