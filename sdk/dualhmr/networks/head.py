"""The regressor head: from features to SMPL parameters by repeated correction.

HMR's iterative error feedback (Kanazawa et al., CVPR 2018) with CLIFF's box information (Li et
al., ECCV 2022), or the readout of HMR2.0 (Goel et al., ICCV 2023), which has no hidden layers.
There is no nonlinearity between the layers, so the head is affine in its input;
`dualhmr.adaptation.fast_head` makes use of that.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dualhmr.adaptation.fast_head import AffineHead
from dualhmr.files import sha256 as file_sha256
from dualhmr.rotations import rot6d_to_rotmat
from dualhmr.untrusted import as_float32, read_npz

POSE_COUNT = 24 * 6
SHAPE_COUNT = 10
CAMERA_COUNT = 3
BOX_INFO_COUNT = 3
_ESTIMATE_COUNTS = [POSE_COUNT, SHAPE_COUNT, CAMERA_COUNT]
# Small, so that an untrained head stays close to its start.
_DECODER_GAIN = 0.01

Layer = Callable[[Tensor], Tensor]


class HeadOutput(NamedTuple):
    """SMPL parameters and crop camera of N persons.

    pose_6d: (N, 144), per joint the first two columns of its rotation, as `view(-1, 3, 2)`.
    betas: (N, 10) shape coefficients.
    camera: (N, 3), weak-perspective scale and translation (s, tx, ty) in the crop.
    """

    pose_6d: Tensor
    betas: Tensor
    camera: Tensor

    @property
    def rotations(self) -> Tensor:
        """(N, 24, 3, 3): `pose_6d` as matrices."""
        return rot6d_to_rotmat(self.pose_6d.unflatten(1, (24, 6)))


def as_output(estimate: Tensor) -> HeadOutput:
    """Splits an estimate (N, 157) into pose, betas and camera."""
    return HeadOutput(*torch.split(estimate, _ESTIMATE_COUNTS, dim=1))


def identity_pose_6d() -> Tensor:
    """24 identity rotations in the head's 6D layout: (1, 144)."""
    return torch.eye(3)[:, :2].reshape(1, 6).repeat(1, POSE_COUNT // 6)


class RegressorHead(nn.Module):
    """Features, and box info for CLIFF, to `HeadOutput`.

    Starting from `init_pose`, `init_shape` and `init_cam` (buffers, part of the state dict), each
    of `iterations` iterations adds a correction computed from the features and the estimate so far.
    Meta-HMR runs 10 iterations in the main network and 3 in the auxiliary one; the number is not in
    its checkpoints. `mean_pose`, 144 numbers in the 6D layout, replaces the identity rotations
    as the start, global orientation included. Dropout acts in training mode only.

    Without hidden layers (`hidden` 0) the correction is computed from the features alone, so it is
    the same in every iteration, and one is enough.
    """

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(
        self,
        feature_count: int,
        *,
        hidden: int = 1024,
        iterations: int,
        reads_box_info: bool,
        dropout: float = 0.5,
        mean_pose: Tensor | None = None,
    ) -> None:
        """Raises ValueError for fewer than one iteration or a `mean_pose` of another size."""
        super().__init__()
        if iterations < 1:
            raise ValueError(f"the head needs at least one iteration, got {iterations}")
        self.feature_count = feature_count
        self.hidden = hidden
        self.iterations = iterations
        self.reads_box_info = reads_box_info
        input_count = feature_count + BOX_INFO_COUNT * reads_box_info
        if hidden:
            self.fc1 = nn.Linear(input_count + sum(_ESTIMATE_COUNTS), hidden)
            self.drop1 = nn.Dropout(dropout)
            self.fc2 = nn.Linear(hidden, hidden)
            self.drop2 = nn.Dropout(dropout)
        decoded = hidden or input_count
        self.decpose = _decoder(decoded, POSE_COUNT)
        self.decshape = _decoder(decoded, SHAPE_COUNT)
        self.deccam = _decoder(decoded, CAMERA_COUNT)
        self.register_buffer("init_pose", _initial_pose(mean_pose))
        self.register_buffer("init_shape", torch.zeros(1, SHAPE_COUNT))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0.0, 0.0]]))

    def forward(self, features: Tensor, box_info: Tensor | None = None) -> HeadOutput:
        """Features (N, `feature_count`) and box info (N, 3) to the parameters of N persons.

        Raises ValueError where box info is missing for a head that reads it, or passed to one
        that does not.
        """
        head_input = self.head_input(features, box_info)
        if not self.hidden:
            correction = self._decode(head_input)
            return self._corrected(head_input.shape[0], lambda _estimate: correction)
        # Features and box info stay the same over the iterations, so their share of fc1, by far
        # the larger one, is computed once.
        counts = [head_input.shape[-1], sum(_ESTIMATE_COUNTS)]
        weight_input, weight_estimate = torch.split(self.fc1.weight, counts, dim=1)
        constant = F.linear(head_input, weight_input, self.fc1.bias)
        return self.iterate(
            head_input.shape[0],
            first=lambda estimate: constant + F.linear(estimate, weight_estimate),
            second=self.fc2,
            decode=self._decode,
        )

    def iterate(self, persons: int, *, first: Layer, second: Layer, decode: Layer) -> HeadOutput:
        """The iterations of a head with hidden layers, with any layers.

        `first` maps the estimate (N, 157) to the first hidden layer, `second` that to the second
        one, and `decode` that to the correction (N, 157). `forward` passes the head's own layers;
        training passes layers that differ from person to person.
        """
        return self._corrected(
            persons, lambda estimate: decode(self.drop2(second(self.drop1(first(estimate)))))
        )

    def _corrected(self, persons: int, correction: Layer) -> HeadOutput:
        estimate = torch.cat([self.init_pose, self.init_shape, self.init_cam], dim=1)
        estimate = estimate.expand(persons, -1)
        for _ in range(self.iterations):
            estimate = estimate + correction(estimate)
        return as_output(estimate)

    def head_input(self, features: Tensor, box_info: Tensor | None) -> Tensor:
        """What all iterations read alike: features (N, F), and box info for CLIFF; (N, G).

        Raises ValueError as `forward` does.
        """
        if features.shape[-1] != self.feature_count:
            raise ValueError(
                f"this head takes {self.feature_count} features, got {tuple(features.shape)}"
            )
        if not self.reads_box_info:
            if box_info is not None:
                raise ValueError("this head reads no box info (HMR), but box_info was given")
            return features
        if box_info is None:
            raise ValueError("this head reads box info (CLIFF), but box_info is missing")
        return torch.cat([features, box_info], dim=1)

    def _decode(self, hidden: Tensor) -> Tensor:
        return torch.cat([self.decpose(hidden), self.decshape(hidden), self.deccam(hidden)], dim=1)


def _decoder(hidden: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(hidden, outputs)
    nn.init.xavier_uniform_(layer.weight, gain=_DECODER_GAIN)
    return layer


def _initial_pose(mean_pose: Tensor | None) -> Tensor:
    if mean_pose is None:
        return identity_pose_6d()
    if mean_pose.numel() != POSE_COUNT:
        raise ValueError(
            f"mean_pose must hold {POSE_COUNT} numbers (24 rotations in 6D), "
            f"got shape {tuple(mean_pose.shape)}"
        )
    return mean_pose.detach().to(torch.get_default_dtype()).reshape(1, POSE_COUNT).clone()


def affine_head(head: RegressorHead) -> AffineHead:
    """A copy of the head's weights as matrices; equal to the head without dropout."""
    start = torch.cat([head.init_pose, head.init_shape, head.init_cam], dim=1)
    return AffineHead.from_parameters(
        dict(head.named_parameters()), start=start, iterations=head.iterations
    )


_MEAN_SHAPES = {"pose": (144,), "shape": (10,), "cam": (3,)}
_LARGEST_MEAN_PARAMS = 1 << 20  # bytes


@dataclass(frozen=True, eq=False)
class MeanParams:
    """The estimate before the first iteration, and the hash of its file."""

    start: HeadOutput
    """Of one person; 6D rotations as the heads read them, global orientation included."""
    sha256: str
    """Of the file, in hexadecimal."""


def read_mean_params(path: str | os.PathLike[str]) -> MeanParams:
    """Reads SPIN's `smpl_mean_params.npz`: `pose` (144,) in 6D, `shape` (10,) and `cam` (3,).

    Raises FileNotFoundError, or ValueError where the file is damaged or its arrays are not these.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no mean parameters at {path}; smpl_mean_params.npz comes with the data of "
            "github.com/nkolot/SPIN"
        )
    arrays = read_npz(path, _MEAN_SHAPES, limit_bytes=_LARGEST_MEAN_PARAMS)
    missing = [name for name in _MEAN_SHAPES if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; SPIN's smpl_mean_params.npz has pose, shape, cam"
        )
    start = HeadOutput(*(_numbers(path, name, array) for name, array in arrays.items()))
    return MeanParams(start, file_sha256(path))


def _numbers(path: Path, name: str, array: NDArray[Any]) -> Tensor:
    shape = _MEAN_SHAPES[name]
    if array.dtype.kind != "f" or array.shape != shape:
        hint = "; rotations have to be in 6D, not axis-angle" if name == "pose" else ""
        raise ValueError(
            f"{path}: {name} is {array.dtype} {array.shape}, expected real numbers {shape}{hint}"
        )
    try:
        return torch.from_numpy(as_float32(array, name))[None]
    except ValueError as error:
        raise ValueError(f"{path}: {error}; get the file again") from error
