"""Batches drawn from the licensed data sets."""

from collections.abc import Iterator, Sequence

from torch.utils.data import DataLoader, Sampler

from dualhmr.objective import Objective
from dualhmr_training.batches import Batch, batch_of_samples
from dualhmr_training.datasets import Draw, Mixture, MixtureSampler
from dualhmr_training.persons import to_device
from dualhmr_training.samples import Sample
from dualhmr_training.step_stream import Share, StepStream


class MixtureBatches:
    """Batches drawn from a mixture; what a step draws depends on the seed and the step alone."""

    def __init__(
        self,
        mixture: Mixture,
        objective: Objective,
        *,
        draws: int,
        seed: int,
        workers: int,
        gendered: Sequence[Objective] = (),
    ) -> None:
        """`draws` is how many samples the whole training uses; `workers` processes load them.

        `gendered` are those of `batch_of_samples`.
        """
        self._mixture, self._objective, self._workers = mixture, objective, workers
        self._gendered = gendered
        self._order = MixtureSampler(mixture, draws=draws, seed=seed)
        self._stream = StepStream(self._opened)

    def batch(self, step: int, count: int, *, process: int = 0, processes: int = 1) -> Batch:
        """One process's share of the `count` samples of a step."""
        samples = self._stream.batch(step, Share(count, process, processes))
        on_device = to_device(samples, self._objective.body.v_template.device)
        return batch_of_samples(on_device, self._objective, self._gendered)

    def _opened(self, step: int, share: Share) -> Iterator[Sample]:
        draws = _OwnDraws(self._order.starting_at(step * share.batch), share)
        return iter(DataLoader(self._mixture, batch_sampler=draws, num_workers=self._workers))


class _OwnDraws(Sampler[list[Draw]]):
    """One process's share of the draws of every batch."""

    def __init__(self, order: MixtureSampler, share: Share) -> None:
        self._order, self._share = order, share

    def __len__(self) -> int:
        return len(self._order) // self._share.batch

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list[Draw]()
        for draw in self._order:
            draws.append(draw)
            if len(draws) == self._share.batch:
                yield draws[self._share.own]
                draws.clear()
