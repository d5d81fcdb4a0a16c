"""The main and the auxiliary network with their losses: what a training step evaluates (Eq. 8)."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from dualhmr.networks import HeadOutput, LandmarkTrunk, MeshRegressor
from dualhmr.objective.objective import WITHOUT_TARGET, Evidence, MeshTarget, Objective
from dualhmr_training.averages import annotated_means
from dualhmr_training.batches import Batch
from dualhmr_training.configuration import InnerLoop
from dualhmr_training.meta_step import adapted_output


class MixedPrecisionRegressor(MeshRegressor):
    """A network whose backbone computes in bfloat16 while it trains; its weights stay float32.

    Head, body and losses stay in float32: an inner step changes the estimate by less than bfloat16
    can tell apart, and its eight bits are centimetres at the end of an arm. In evaluation mode
    everything is float32, as at test time.
    """

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As of `MeshRegressor`."""
        if not self.training:
            return super().encode(inputs)
        weight = self.head.decpose.weight
        with torch.autocast(weight.device.type, torch.bfloat16):
            features = super().encode(inputs)
        return features.to(weight.dtype)


def in_mixed_precision(network: MeshRegressor) -> MeshRegressor:
    """The same backbone and head, trained in mixed precision."""
    return MixedPrecisionRegressor(
        network.backbone, network.head, backbone_prefix=network.backbone_prefix
    )


class SimulatedEyeRegressor(MeshRegressor):
    """A network whose `LandmarkTrunk` reads the input `landmarks` rather than the image."""

    @property
    def reads(self) -> tuple[str, ...]:
        """As of `MeshRegressor`."""
        return tuple("landmarks" if name == "image" else name for name in super().reads)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As of `MeshRegressor`."""
        assert isinstance(self.backbone, LandmarkTrunk)
        return self.backbone.lift(*(inputs[name] for name in _LIFTED))


_LIFTED = ("landmarks", "keypoints", "box_info")


def with_simulated_eye(network: MeshRegressor | None) -> MeshRegressor | None:
    """A network that looks at the image with a `LandmarkTrunk`, as `SimulatedEyeRegressor`.

    In training mode; other networks as they are.
    """
    if network is None or not isinstance(network.backbone, LandmarkTrunk):
        return network
    return SimulatedEyeRegressor(network.backbone, network.head)


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class DualNetworks(nn.Module):
    """Both networks and their losses in one module, which `DistributedDataParallel` can wrap."""

    def __init__(
        self,
        main: MeshRegressor,
        auxiliary: MeshRegressor | None,
        objective: Objective,
        inner: InnerLoop,
        *,
        supervision: Objective | None = None,
        outer_losses: tuple[str, ...] | None = None,
    ) -> None:
        """`objective` is that of test time; `supervision` that of the outer problem, if another.

        Raises ValueError where there are no such losses, or none of them has a weight, for inner
        losses that need a pseudo mesh, where there is no auxiliary network, and for inner steps of
        all parameters where there are batch norms.
        """
        super().__init__()
        supervision = supervision or objective
        _counted(supervision, outer_losses, "outer_losses")
        if inner.steps:
            needed = _counted(objective, inner.losses, "inner.losses") - WITHOUT_TARGET
            if auxiliary is None and needed:
                raise ValueError(
                    f"the inner losses {', '.join(sorted(needed))} need the auxiliary network's "
                    'pseudo mesh; give an auxiliary, or inner.losses ["keypoints_2d"], or '
                    "inner.steps 0"
                )
            if inner.scope == "all" and any(
                isinstance(part, _BATCH_NORMS) for part in main.modules()
            ):
                raise ValueError(
                    "inner.scope all: the main network has batch norms, which average over people "
                    "whose weights would differ; give inner.scope head, or another backbone"
                )
        self.main = main
        self.auxiliary = auxiliary
        self._objective = objective
        self._supervision = supervision
        self._inner = inner
        self._outer_losses = outer_losses

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The mean losses over the batch, by `network/loss`; their sum is Eq. 8's.

        Each is the mean over those in the batch, of all processes together, who have the annotation
        that it compares with, see `annotated_means`.

        The auxiliary network is under the supervised loss. The main network is under it *after* a
        test-time step for each sample, on the sample's keypoints and pseudo mesh, or for them all
        together where `inner.weights_per` is `batch`.
        """
        adapted, auxiliary_output = self._outputs(batch, self._inner)
        losses = self._supervised("main", adapted, batch)
        if auxiliary_output is not None:
            losses |= self._supervised("auxiliary", auxiliary_output, batch)
        return losses

    def adapted(self, batch: Batch) -> HeadOutput:
        """The main network's output after the inner steps on each sample alone.

        As at test time, also where `inner.weights_per` is `batch`: a sample's output does not
        depend on the rest of the batch, and everybody has a pseudo mesh.
        """
        alone = replace(self._inner, weights_per="sample", pseudo_loss="all")
        return self._outputs(batch, alone)[0]

    def _outputs(self, batch: Batch, inner: InnerLoop) -> tuple[HeadOutput, HeadOutput | None]:
        """Of the adapted main network and of the auxiliary one."""
        auxiliary_output = None if self.auxiliary is None else self.auxiliary(batch.inputs)
        evidence: Evidence = batch.evidence
        if auxiliary_output is not None and inner.steps:
            pseudo_mesh = self._pseudo_mesh(auxiliary_output)
            if inner.pseudo_loss == "release":
                pseudo_mesh = _of_annotated(pseudo_mesh, batch.truth.target)
            evidence = evidence._replace(target=pseudo_mesh)
        adapted = adapted_output(self.main, batch.inputs, self._objective, evidence, inner)
        return adapted, auxiliary_output

    @torch.no_grad()
    def _pseudo_mesh(self, output: HeadOutput) -> MeshTarget:
        """The auxiliary network's mesh as a constant; `no_grad` does not detach the betas."""
        return self._objective.target(output.rotations, output.betas.detach())

    def _supervised(self, network: str, output: HeadOutput, batch: Batch) -> dict[str, Tensor]:
        losses = self._supervision.losses(output, batch.truth, self._outer_losses)
        means = annotated_means(losses, batch.truth.target, over_processes=True)
        return {f"{network}/{name}": mean for name, mean in means.items()}


def _of_annotated(pseudo_mesh: MeshTarget, truth: MeshTarget | None) -> MeshTarget:
    """The pseudo mesh of those alone whose own mesh is annotated."""
    if truth is None or truth.annotated is None:
        return pseudo_mesh
    confidence = (
        truth.annotated[:, None].to(pseudo_mesh.joints).expand(pseudo_mesh.joints.shape[:2])
    )
    return pseudo_mesh._replace(annotated=truth.annotated, joints_confidence=confidence)


def _counted(objective: Objective, names: tuple[str, ...] | None, field: str) -> set[str]:
    """The losses that `names` stands for and that have a weight; None is all."""
    weights = objective.weights
    unknown = set(names or ()) - set(weights)
    if unknown:
        raise ValueError(
            f"{field} has unknown losses {', '.join(sorted(unknown))}; "
            f"known are {', '.join(weights)}"
        )
    weighted = {name for name, weight in weights.items() if weight}
    counted = weighted if names is None else weighted & set(names)
    if not counted:
        raise ValueError(f"none of {field} has a weight: {names} of {weights}")
    return counted
