"""`ObjectiveGradient` as one CUDA kernel, `objective.cu`: a block for every person.

A loss on vertices is PyTorch's, between two launches of the kernel.
"""

from collections.abc import Collection
from copy import copy

import torch
from torch import Tensor

from dualhmr.adaptation.fast_head.cuda_kernels import CudaKernels, KernelVariant
from dualhmr.body.arrays import JOINT_COUNT
from dualhmr.camera import crop_projection
from dualhmr.objective.gradient.points import Points, Vertices
from dualhmr.objective.gradient.skeleton import ancestors
from dualhmr.objective.gradient.targets import Loss, losses_against
from dualhmr.objective.objective import Evidence, Objective

LOSSES = ("keypoints_2d", "joints_3d", "rotations", "betas", "camera")
"""Those that the kernel computes, in its order."""
_THREADS = 512
_SHARED_BYTES = 48 * 1024
"""Of a block, on every GPU."""


class CudaObjective:
    """`objective` against the `evidence` about N persons, as `ObjectiveGradient`."""

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
        self._vertices = Vertices(objective.body) if objective.weights["vertices"] else None
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
        wanted, estimate = self._objective.wanted(self._evidence, names), estimate.contiguous()
        evaluated: dict[str, Tensor] = {}
        more: tuple[Tensor | None, Tensor | None] = (None, None)
        if "vertices" in wanted:
            evaluated["vertices"], more = self._on_vertices(estimate)
        if "vertices" not in minimised:
            more = (None, None)
        values = estimate.new_empty(len(estimate), len(LOSSES))
        gradient = torch.empty_like(estimate)
        bits = sum(1 << LOSSES.index(name) for name in minimised if name != "vertices")
        self._launch(estimate, values, gradient, None, None, *more, bits)
        evaluated |= {name: values[:, row] for row, name in enumerate(LOSSES)}
        return {name: evaluated[name] for name in wanted}, gradient

    def _launch(self, estimate: Tensor, *outputs_and_more: Tensor | int | None) -> None:
        persons = len(self._packed)
        scratch = estimate.new_empty(persons, self._scratch_size)
        constants = (self._basis, self._basis_transposed, self._rows, self._rows_transposed)
        tensors = (estimate, self._packed, *constants, self._tree, scratch)
        arguments = (*tensors, *outputs_and_more, self._objective.weights["camera"])
        self._kernels.launch(self._variant, (persons, 1, 1), _THREADS, arguments)

    def _on_vertices(self, estimate: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The loss on vertices (N,), and its gradients of joints' transforms and blend weights."""
        assert self._vertices is not None
        transforms = estimate.new_empty(len(estimate), JOINT_COUNT, 3, 4)
        blend = estimate.new_empty(len(estimate), len(self._basis))
        self._launch(estimate, None, None, transforms, blend, None, None, 0)
        skin = self._vertices.forward(transforms, blend)
        loss, grad_vertices = self._vertices_loss(skin.vertices)
        grad_transforms, grad_blend = self._vertices.backward(skin, grad_vertices)
        return loss, (grad_transforms.contiguous(), grad_blend.contiguous())

    def _set_evidence(self, evidence: Evidence) -> None:
        self._evidence, losses = evidence, losses_against(evidence, self._objective)
        self._packed = _packed(self._objective, evidence, losses)
        if "vertices" in losses:
            self._vertices_loss = losses["vertices"]

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


def _packed(objective: Objective, evidence: Evidence, losses: dict[str, Loss]) -> Tensor:
    """The kernel's struct Evidence of every person, side by side: (N, .)."""
    camera = crop_projection(objective.camera, evidence.view, objective.crop_size)
    persons = len(evidence.keypoints)
    joints, betas = len(objective.joints_available), objective.body.beta_count

    def pair(name: str, numbers: int, weights: int) -> list[Tensor]:
        """Target and weights of a loss; without a target they are zero."""
        if name not in losses:
            return [evidence.keypoints.new_zeros(persons, numbers + weights)]
        arguments = losses[name].keywords
        return [arguments["target"], arguments["weight"]]

    keypoints = len(objective.available)
    parts = [
        *camera,
        *pair("keypoints_2d", 2 * keypoints, keypoints),
        *pair("joints_3d", 3 * joints, joints),
        *pair("rotations", 9 * JOINT_COUNT, 1),
        *pair("betas", betas, 1),
    ]
    return torch.cat([part.reshape(persons, -1) for part in parts], dim=1)
