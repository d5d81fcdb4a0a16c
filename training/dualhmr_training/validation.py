"""How networks do on people that training does not see: errors, and a picture."""

import math

import torch
from torch import Tensor

from dualhmr.body import Body
from dualhmr.networks import HeadOutput
from dualhmr.objective import Objective
from dualhmr_training.batches import Batch, batch_of_people
from dualhmr_training.dual import DualNetworks
from dualhmr_training.held_out import errors_mm
from dualhmr_training.persons import in_parts
from dualhmr_training.pictures import Picture, contact_sheet
from dualhmr_training.synthetic.appearance import Appearance
from dualhmr_training.synthetic.dice import Dice
from dualhmr_training.synthetic.people import People
from dualhmr_training.synthetic.rendering import render_people

PICTURED = 5
_RENDERED_AT_ONCE = 64


def held_out_images(body: Body, people: People, appearance: Appearance) -> Tensor:
    """Pictures (N, 256, 192, 3) of people, always the same ones. All on the CPU."""
    dice = Dice(1001)
    parts = in_parts(people, _RENDERED_AT_ONCE)
    return torch.cat([render_people(body, part, appearance, dice) for part in parts])


class PeopleValidation:
    """Of both networks, and of the main one after the inner steps, on synthetic people."""

    def __init__(
        self,
        objective: Objective,
        people: People,
        images: Tensor | None = None,
        *,
        at_once: int = 256,
    ) -> None:
        """`people`, and their `images` for networks that read them, are on the objective's device.

        Networks are given `at_once` of them at a time.
        """
        self._objective, self._people, self._at_once = objective, people, at_once
        self._batch = batch_of_people(people, objective, images)
        self._pictured = self._batch.share(0, math.ceil(len(people.betas) / PICTURED))

    def errors(self, networks: DualNetworks) -> dict[str, float]:
        """In millimetres, by `network/error`."""
        parts = [_outputs(networks, part) for part in in_parts(self._batch, self._at_once)]
        return {
            f"{network}/{name}": value
            for network in parts[0]
            for name, value in errors_mm(
                _joined([part[network] for part in parts]), self._objective, self._people
            ).items()
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


def _joined(parts: list[HeadOutput]) -> HeadOutput:
    return HeadOutput(*map(torch.cat, zip(*parts, strict=True)))
