"""How networks do on people that training does not see: errors, and a picture."""

import math

import torch

from dualhmr.networks import HeadOutput
from dualhmr.objective import Objective
from dualhmr_training.batches import Batch, batch_of_people
from dualhmr_training.dual import DualNetworks
from dualhmr_training.held_out import errors_mm
from dualhmr_training.pictures import Picture, contact_sheet
from dualhmr_training.synthetic.people import People

PICTURED = 5


class PeopleValidation:
    """Of both networks, and of the main one after the inner steps, on synthetic people."""

    def __init__(self, objective: Objective, people: People) -> None:
        """`people` are on the objective's device."""
        self._objective, self._people = objective, people
        self._batch = batch_of_people(people, objective)
        self._pictured = self._batch.share(0, math.ceil(len(people.betas) / PICTURED))

    def errors(self, networks: DualNetworks) -> dict[str, float]:
        """In millimetres, by `network/error`."""
        return {
            f"{network}/{name}": value
            for network, output in _outputs(networks, self._batch).items()
            for name, value in errors_mm(output, self._objective, self._people).items()
        }

    def picture(self, networks: DualNetworks) -> Picture:
        """Of a few people: the main network's bodies, the adapted ones, the auxiliary network's."""
        outputs = _outputs(networks, self._pictured)
        return contact_sheet(list(outputs.values()), self._objective, self._pictured)


@torch.no_grad()
def _outputs(networks: DualNetworks, batch: Batch) -> dict[str, HeadOutput]:
    outputs = {"main": networks.main(batch.inputs), "adapted": networks.adapted(batch)}
    if networks.auxiliary is not None:
        outputs["auxiliary"] = networks.auxiliary(batch.inputs)
    return outputs
