"""Batches of synthetic people with pictures, for networks that read the image."""

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import DataLoader

from dualhmr.body import Body
from dualhmr.objective import Objective
from dualhmr_training.batches import Batch, batch_of_people
from dualhmr_training.configuration import TrainingConfig
from dualhmr_training.persons import to_device
from dualhmr_training.step_stream import Share, StepStream
from dualhmr_training.synthetic.images import PicturedPeople, SyntheticImages


class RenderedBatches:
    """The batch of a step depends on the seed and the step alone; it holds all inputs there are.

    Of a batch that several processes share each renders its own people.
    """

    def __init__(
        self,
        config: TrainingConfig,
        body: Body,
        pool: Tensor,
        objective: Objective,
        *,
        workers: int,
    ) -> None:
        """`pool` (M, 24, 3) are the rotation vectors to draw poses from; `body` is on the CPU.

        `workers` processes render, or this one where there are none.
        """
        self._people = (body, pool, config.population, config.appearance)
        self._objective, self._seed, self._workers = objective, config.seed, workers
        self._stream = StepStream(self._opened)

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` people of a step, on the objective's device."""
        pictured = self._stream.batch(step, Share(count, process, processes))
        people, images = to_device(pictured, self._objective.body.v_template.device)
        return batch_of_people(people, self._objective, images)

    def _opened(self, step: int, share: Share) -> Iterator[PicturedPeople]:
        images = SyntheticImages(
            *self._people, seed=self._seed, batch=share.batch, start=step, only=share.own
        )
        return iter(DataLoader(images, batch_size=None, num_workers=self._workers))
