"""The two networks, trained together: Eq. 8."""

import torch
from torch import Tensor, nn

from dualhmr.networks import HeadOutput, MeshRegressor
from dualhmr.objective import MeshTarget, Objective
from dualhmr.rotations import rot6d_to_rotmat
from dualhmr_training.batches import Batch
from dualhmr_training.meta_step import InnerLoop, adapted_output


class DualNetworks(nn.Module):
    """Main and auxiliary network and their losses, in one module, as data parallelism wants it."""

    def __init__(
        self,
        main: MeshRegressor,
        auxiliary: MeshRegressor | None,
        objective: Objective,
        inner: InnerLoop,
        *,
        outer_losses: tuple[str, ...] | None = None,
    ) -> None:
        """Raises ValueError for inner losses that need a pseudo mesh, without an auxiliary."""
        super().__init__()
        if auxiliary is None and inner.steps and inner.losses is None:
            raise ValueError(
                "inner steps on all losses need the auxiliary network's pseudo mesh; give an "
                'auxiliary, or inner.losses ("keypoints_2d",), or inner.steps 0'
            )
        self.main = main
        self.auxiliary = auxiliary
        self._objective = objective
        self._inner = inner
        self._outer_losses = outer_losses

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The mean losses over the batch, by `network/loss`; their sum is Eq. 8's.

        The auxiliary network is under the supervised loss. The main network is under it *after* a
        test-time step for each sample, on the sample's keypoints and pseudo mesh.
        """
        losses: dict[str, Tensor] = {}
        known = batch.known
        if self.auxiliary is not None:
            output = self.auxiliary(batch.inputs)
            losses |= self._supervised("auxiliary", output, batch)
            known = known._replace(target=self._pseudo_mesh(output))
        adapted = adapted_output(self.main, batch.inputs, self._objective, known, self._inner)
        return losses | self._supervised("main", adapted, batch)

    def adapted(self, batch: Batch) -> HeadOutput:
        """What the main network puts out after the inner steps on each sample."""
        known = batch.known
        if self.auxiliary is not None:
            known = known._replace(target=self._pseudo_mesh(self.auxiliary(batch.inputs)))
        return adapted_output(self.main, batch.inputs, self._objective, known, self._inner)

    @torch.no_grad()
    def _pseudo_mesh(self, output: HeadOutput) -> MeshTarget:
        rotations = rot6d_to_rotmat(output.pose_6d.unflatten(1, (24, 6)))
        return self._objective.target(rotations, output.betas)

    def _supervised(self, network: str, output: HeadOutput, batch: Batch) -> dict[str, Tensor]:
        losses = self._objective.losses(output, batch.truth, self._outer_losses)
        return {f"{network}/{name}": loss.mean() for name, loss in losses.items()}
