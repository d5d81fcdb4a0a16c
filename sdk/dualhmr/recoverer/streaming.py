"""Many photographs, one after the other or all at once, through one `Pipeline`."""

import os
import traceback
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualhmr.adaptation.schedule import Schedule
from dualhmr.arguments import shown
from dualhmr.detection import AnyDetector
from dualhmr.groups import GROUP_SIZES
from dualhmr.recoverer.ordered_work import in_groups, in_order
from dualhmr.recoverer.photo import Item, Photo, as_photo
from dualhmr.recoverer.pipeline import Pipeline, PreparedPhoto
from dualhmr.recovery import Recovery

_MOST = max(GROUP_SIZES)
"""Persons that a GPU adapts at once, and photographs that are prepared ahead for it."""


@dataclass(frozen=True, eq=False, repr=False)
class FailedPhoto:
    """Stands where the `Recovery` of a photograph would, which could not be used."""

    index: int
    """Of the item, from 0."""
    error: Exception
    """What `Recoverer.recover` would raise. It does not keep the photograph's pixels."""

    def __repr__(self) -> str:
        return f"FailedPhoto({self.index}, {type(self.error).__name__}: {self.error})"


Results = Generator[Recovery | FailedPhoto, None, None]
_Prepared = tuple[int, PreparedPhoto | Exception]


@dataclass(frozen=True)
class PhotoStream:
    """How the photographs of one stream are recovered."""

    pipeline: Pipeline
    """Its networks compute on one thread of a CPU, or on a GPU."""
    schedule: Schedule
    detector: AnyDetector | None
    threads: int
    grouped: bool
    """Whether the people of several photographs are fitted at once, as a GPU does it best.

    The cores of a CPU take a photograph each: there, networks are no faster in batches.
    """

    def recover(self, items: Iterable[Item]) -> Results:
        """Results in the order of the items; see `Recoverer.stream`."""
        numbered = enumerate(items)
        if self.grouped:
            return in_groups(
                self._prepare, self._fit, numbered, threads=self.threads, ahead=_MOST, fits=_fits
            )
        return self._on_cores(numbered)

    def _on_cores(self, items: Iterable[tuple[int, Item]]) -> Results:
        """A photograph for each thread, and the people of one with several spread over more."""
        initializer = self._use_one_thread
        with ThreadPoolExecutor(self.threads, "dualhmr", initializer) as pool:
            spread = pool if self.threads > 1 else None

            def recover(item: tuple[int, Item]) -> Recovery | FailedPhoto:
                return self._fit([self._prepare(item)], spread)[0]

            yield from in_order(recover, items, threads=self.threads, initializer=initializer)

    def _prepare(self, item: tuple[int, Item]) -> _Prepared:
        index, photo = item
        try:
            return index, self.pipeline.prepare(as_photo(photo), self.schedule, self.detector)
        except Exception as error:  # of any kind: one photograph never costs the rest
            return index, _without_pixels(error)

    def _fit(
        self, items: list[_Prepared], pool: Executor | None = None
    ) -> list[Recovery | FailedPhoto]:
        prepared = [photo for _, photo in items if isinstance(photo, PreparedPhoto)]
        try:
            fitted = iter(self.pipeline.fit(prepared, self.schedule, pool=pool))
        except Exception as error:
            if len(items) == 1:
                return [FailedPhoto(items[0][0], _without_pixels(error))]
            # One of them is to blame, the others are not.
            return [result for item in items for result in self._fit([item])]
        return [
            FailedPhoto(index, photo) if isinstance(photo, Exception) else next(fitted)
            for index, photo in items
        ]

    def _use_one_thread(self) -> None:
        """PyTorch's number of threads is that of the thread which calls it."""
        if "torch" in (self.pipeline.networks.backend, self.pipeline.fitter.runs_on.split()[0]):
            from dualhmr.torch_threads import set_own_threads

            set_own_threads(1)


def _fits(group: list[_Prepared]) -> bool:
    return sum(len(p.people) for _, p in group if isinstance(p, PreparedPhoto)) <= _MOST


def _without_pixels(error: Exception) -> Exception:
    """The same, whose traceback names the lines and has lost their variables, images above all."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    return error


def photos_of(
    images: Sequence[Any],
    keypoints: Sequence[Any] | None,
    boxes: Sequence[Any] | None,
    scores: Sequence[Any] | None,
    **shared: Any,
) -> list[Photo]:
    """A `Photo` of each image.

    Raises TypeError for a single image, ValueError for another number of keypoints.
    """
    if isinstance(images, str | os.PathLike) or not isinstance(images, Sequence | np.ndarray):
        raise TypeError(
            f"images is {shown(images)} of type {type(images).__name__}, expected a sequence of "
            "images; use recover for one, and stream for an iterator"
        )
    if isinstance(images, np.ndarray) and images.ndim < 4:
        raise TypeError(
            f"images is an array of shape {images.shape}, expected (N, H, W, 3) or a list; use "
            "recover for one image"
        )
    each = {"keypoints": keypoints, "boxes": boxes, "scores": scores}
    for name, values in each.items():
        if values is not None and len(values) != len(images):
            raise ValueError(
                f"{len(values)} {name} came with {len(images)} images; give what recover takes "
                "for each image, None for those that have none"
            )
    return [
        Photo(
            image,
            **{name: values[index] for name, values in each.items() if values is not None},
            **shared,
        )
        for index, image in enumerate(images)
    ]


def all_recovered(results: Results) -> list[Recovery]:
    """All of them. Raises the error of the first photograph that failed, and stops the others."""
    recoveries = []
    for result in results:
        if isinstance(result, FailedPhoto):
            results.close()
            raise result.error
        recoveries.append(result)
    return recoveries


def check_iterable(items: Iterable[Item]) -> None:
    """Raises TypeError for a single image in place of many."""
    if isinstance(items, str | Photo) or not isinstance(items, Iterable):
        raise TypeError(
            f"items is {shown(items)} of type {type(items).__name__}, expected an iterable of "
            "images, or of Photos; use recover for one"
        )
