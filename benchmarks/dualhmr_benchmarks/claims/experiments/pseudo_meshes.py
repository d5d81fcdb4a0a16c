"""Pseudo meshes of other sources than the auxiliary network that was trained with the main one."""

from dataclasses import replace

from torch import Tensor

from dualhmr.objective.objective import MeshTarget
from dualhmr_training.dual import with_simulated_eye
from dualhmr_training.evaluation.batch_fitter import BatchFitter
from dualhmr_training.evaluation.groups import GroundTruth
from dualhmr_training.training_folder import Networks


class TruthFitter(BatchFitter):
    """Adapts to the true mesh in place of the pseudo mesh."""

    def pseudo_mesh(self, truth: GroundTruth, _inputs: dict[str, Tensor]) -> MeshTarget:
        """The true mesh; ValueError of people whose truth is no body of this kind."""
        if truth.rotations is None or truth.betas is None:
            raise ValueError("the truth about these people has no rotations and betas")
        return self.objective.target(truth.rotations, truth.betas)


def with_auxiliary_of(networks: Networks, others: Networks) -> Networks:
    """The main network of the first with the auxiliary network of the second."""
    return replace(networks, auxiliary=others.auxiliary, auxiliary_spec=others.auxiliary_spec)


def with_auxiliary_eye_simulated(networks: Networks) -> Networks:
    """Networks whose auxiliary reads simulated landmarks in place of the image.

    As they are where the auxiliary network has no landmark network.
    """
    auxiliary = with_simulated_eye(networks.auxiliary)
    return networks if auxiliary is None else replace(networks, auxiliary=auxiliary.eval())


def auxiliary_alone(networks: Networks) -> Networks:
    """The auxiliary network as the main one, without another; ValueError where there is none."""
    if networks.auxiliary is None or networks.auxiliary_spec is None:
        raise ValueError(f"{networks.source} has no auxiliary network")
    return replace(
        networks,
        main=networks.auxiliary,
        main_spec=networks.auxiliary_spec,
        auxiliary=None,
        auxiliary_spec=None,
    )
