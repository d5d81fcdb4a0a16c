"""`ObjectiveGradient` as one CUDA kernel, `objective.cu`: a block for every person."""

from collections.abc import Collection
from copy import copy

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels, KernelVariant
from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.objective.gradient.points import CropCamera, Points
from dualhmr.objective.gradient.skeleton import ancestors
from dualhmr.objective.gradient.targets import losses_against
from dualhmr.objective.objective import Evidence, Objective

LOSSES = ("keypoints_2d", "joints_3d", "rotations", "betas", "camera")
"""Those that the kernel computes, in its order."""
_THREADS = 512
_SHARED_BYTES = 48 * 1024
"""Of a block, on every GPU."""


def covers(objective: Objective) -> bool:
    """Whether the kernel computes all losses of `objective`: not those on vertices."""
    return not objective.weights["vertices"]


class CudaObjective:
    """`objective` against the `evidence` about N persons, and its gradient.

    As `ObjectiveGradient`, for an objective that the kernel `covers`.
    """

    def __init__(self, objective: Objective, evidence: Evidence, kernels: CudaKernels) -> None:
        """Precomputes what is constant for the body, then for the persons."""
        self._objective, self._kernels = objective, kernels
        points = Points(objective)
        order = torch.argsort(points.joints, stable=True)
        joints = points.joints[order].cpu()
        self._basis = points.basis.unflatten(1, (-1, 4))[:, order].flatten(1).contiguous()
        """(1 + B + 207, P x 4): the pairs by joint."""
        self._rows = points.rows[:, order].contiguous()
        """(K, P)."""
        self._basis_transposed = self._basis.T.contiguous()
        self._rows_transposed = self._rows.T.contiguous()
        self._tree = _tree(objective.body.parents, joints).to(self._basis.device)
        self._variant, self._scratch_size = self._kernel_for(objective, _SHARED_BYTES)
        self._set_evidence(evidence)

    def with_evidence(self, evidence: Evidence) -> "CudaObjective":
        """The same objective against other evidence; the body's constants are shared."""
        other = copy(self)
        other._set_evidence(evidence)
        return other

    def keep_in_memory(self) -> None:
        """Keeps intermediate results in the GPU's memory, as for a body too large for a block's."""
        self._variant, self._scratch_size = self._kernel_for(self._objective, 0)

    def __call__(
        self,
        estimate: Tensor,
        losses: Collection[str] | None = None,
        also: Collection[str] | None = (),
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses (N,) by name and the gradient (N, 144 + B + 3), as `ObjectiveGradient`."""
        minimised = self._objective.wanted(self._evidence, losses)
        if not minimised:
            raise ValueError(f"no loss to minimise: {losses} at {self._objective.weights}")
        names = None if losses is None or also is None else {*losses, *also}
        persons = len(self._packed)
        estimate = estimate.contiguous()
        values, gradient = estimate.new_empty(persons, len(LOSSES)), torch.empty_like(estimate)
        scratch = estimate.new_empty(persons, self._scratch_size)
        constants = (self._basis, self._basis_transposed, self._rows, self._rows_transposed)
        bits = sum(1 << LOSSES.index(name) for name in minimised)
        weight = self._objective.weights["camera"]
        tensors = (estimate, self._packed, *constants, self._tree, scratch, values, gradient)
        self._kernels.launch(self._variant, (persons, 1, 1), _THREADS, (*tensors, bits, weight))
        wanted = self._objective.wanted(self._evidence, names)
        return {name: values[:, LOSSES.index(name)] for name in wanted}, gradient

    def _set_evidence(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._packed = _packed(self._objective, evidence)

    def _kernel_for(self, objective: Objective, shared_bytes: int) -> tuple[KernelVariant, int]:
        """The variant for the objective's sizes, and the numbers it keeps in memory per person."""
        (points, pairs), blend = self._rows.shape, len(self._basis)
        partial = max(4 * pairs * 4, 8 * blend, 8 * points * 3)
        scratch = 2 * blend + 11 * pairs + 6 * points + points + JOINT_COUNT + partial
        others = JOINT_COUNT * (9 + 3 + 3 * 12) + 3
        in_shared = (scratch + others) * self._basis.element_size() <= shared_bytes
        sizes = {
            "BETAS": objective.body.beta_count,
            "PAIRS": pairs,
            "KEYPOINTS": len(objective.available),
            "POINTS": points,
            "IN_SHARED": int(in_shared),
        }
        file = ("dualhmr.objective.gradient", "objective.cu")
        variant = KernelVariant(file, "objective", self._basis.dtype, tuple(sizes.items()))
        return variant, 0 if in_shared else scratch


def _tree(parents: tuple[int, ...], joints: Tensor) -> Tensor:
    """The kernel's struct Tree: `joints` (P,) are those of the pairs, in ascending order."""
    above = [
        sum(1 << a for a, is_above in enumerate(row) if is_above) for row in ancestors(parents)
    ]
    starts = torch.searchsorted(joints, torch.arange(JOINT_COUNT + 1)).tolist()
    return torch.tensor([*parents, *above, *starts, *joints.tolist()], dtype=torch.int32)


def _packed(objective: Objective, evidence: Evidence) -> Tensor:
    """The kernel's struct Evidence of every person, side by side: (N, .)."""
    camera = CropCamera(objective.camera, evidence.view, objective.crop_size)
    losses, persons = losses_against(evidence, objective), len(evidence.keypoints)
    joints, betas = len(objective.joints_available), objective.body.beta_count

    def pair(name: str, numbers: int, weights: int) -> list[Tensor]:
        """Target and weights of a loss; without a target they are zero."""
        if name not in losses:
            return [evidence.keypoints.new_zeros(persons, numbers + weights)]
        arguments = losses[name].keywords
        return [arguments["target"], arguments["weight"]]

    keypoints = len(objective.available)
    parts = [
        *(camera._per_scale, camera._offset, camera._magnification, camera._center),
        *pair("keypoints_2d", 2 * keypoints, keypoints),
        *pair("joints_3d", 3 * joints, joints),
        *pair("rotations", 9 * JOINT_COUNT, 1),
        *pair("betas", betas, 1),
    ]
    return torch.cat([part.reshape(persons, -1) for part in parts], dim=1)
