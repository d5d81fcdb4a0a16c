"""What can be true of a person in a photograph: checks of keypoints before the adaptation.

A keypoint that no body could have where it is said to be is dropped, and a person without enough
plausible keypoints is skipped. Nothing here changes a result without saying so. Bodies that cannot
be right are found afterwards, by `dualhmr.recoverer.collecting.body_warnings`.
"""

import difflib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualhmr.arguments import shown
from dualhmr.keypoints import Keypoints, KeypointSet, known_names
from dualhmr.keypoints.limbs import limbs, reach

FloatArray = npt.NDArray[np.float32]

MIN_KEYPOINTS = 6
"""Labelled keypoints that the body has, which a person needs."""
MIN_EXTENT_PX = 2.0
"""A person smaller than this has no visible pose; keypoints on one point have no box to crop."""
MAX_OUTSIDE = 0.5
"""A person with a larger share of keypoints outside of the image is skipped."""
WARN_OUTSIDE = 0.2
"""From this share on, keypoints outside of the image are a warning."""
MAX_DROPPED = 1 / 3
"""A person with a larger share of implausible keypoints is skipped."""

# Unknown names in a message.
_NAMED = 12

# Of 18,000 synthetic people seen from random sides, with 6 to 23 keypoints and with a detector's
# errors, none has a ratio above 1.7 (see `_implausible`).
_MAX_REACH = 1.9
# The same of a keypoint and the nearest of those that it is linked with: at most 5.5 among 6,000.
_MAX_LIMB = 7.0
# Quantiles that stay right while a third of the keypoints is wrong.
_SCALE_QUANTILE, _REACH_QUANTILE = 0.6, 0.25


class SkippedPerson(NamedTuple):
    """A person in the input who could not be recovered."""

    person: int
    """Index among the persons given."""
    reason: str


class PersonWarning(NamedTuple):
    """Something about one person that the user should know."""

    person: int
    """Index among the persons given."""
    kind: str
    """For programs: `dropped_keypoints`, `outside_image`, `outside_box`, `behind_camera`,
    `too_near`, `body_size`, `poor_fit`, `worse_than_start`, or `orientation` (of the whole
    photograph)."""
    message: str
    """For people."""


class PlausibleKeypoints(NamedTuple):
    """Keypoints without those that cannot be true, and who has enough of them."""

    keypoints: Keypoints
    """Of all persons, as the user passed them; dropped keypoints have confidence 0."""
    of_body: Keypoints
    """The same, with confidence 0 where the body has no such point, and at (0, 0) where it is 0.
    Boxes, the networks' inputs and losses are computed from these."""
    persons: list[int]
    """Indices of those who can be recovered."""
    skipped: list[SkippedPerson]
    warnings: list[PersonWarning]


def check_keypoint_names(keypoint_set: KeypointSet, known: Collection[str]) -> None:
    """Raises ValueError for names of a user's set that neither a known set nor the body has."""
    possible = {*known_names(), *known}
    unknown = [name for name in keypoint_set.names if name not in possible]
    if not unknown:
        return
    meant = []
    for name in unknown[:_NAMED]:
        near = difflib.get_close_matches(str(name), sorted(possible), 1)
        meant.append(f"{shown(name)} ({near[0]!r}?)" if near else shown(name))
    more = len(unknown) - len(meant)
    raise ValueError(
        f"keypoint set {shown(keypoint_set.name)} has names that are not known: {', '.join(meant)}"
        f"{f' and {more} more' if more else ''}; the body has {', '.join(sorted(known))}"
    )


def plausible_keypoints(
    keypoints: Keypoints, image_size: tuple[int, int], known: Collection[str]
) -> PlausibleKeypoints:
    """Checks every person of an image of `image_size` (width, height) pixels.

    `known` are the names of keypoints that the body has; others count for nothing here.
    """
    has = np.array([name in known for name in keypoints.set.names])
    kept = keypoints.confidence.copy()
    confidence = np.where(has, kept, np.float32(0))
    persons: list[int] = []
    skipped: list[SkippedPerson] = []
    warnings: list[PersonWarning] = []
    for person, xy in enumerate(keypoints.xy):
        dropped = _drop_implausible(xy, confidence[person], keypoints.set.names, image_size)
        before = confidence[person].copy()
        confidence[person, dropped] = kept[person, dropped] = 0
        reason = keypoints.problems.get(person) or _skip_reason(
            xy, keypoints.confidence[person], before, confidence[person], image_size
        )
        if reason is not None:
            skipped.append(SkippedPerson(person, reason))
            continue
        persons.append(person)
        if dropped:
            message = _dropped_message(xy, dropped, keypoints.set.names)
            warnings.append(PersonWarning(person, "dropped_keypoints", message))
        outside = _outside(xy[confidence[person] > 0], image_size)
        if outside.mean() >= WARN_OUTSIDE:
            message = _outside_message(outside, image_size)
            warnings.append(PersonWarning(person, "outside_image", message))
    names, points = keypoints.set, keypoints.xy
    return PlausibleKeypoints(
        Keypoints(names, points, kept),
        # A missing point at 10^30 would overflow before its weight of zero is applied.
        Keypoints(names, np.where(confidence[..., None] > 0, points, np.float32(0)), confidence),
        persons,
        skipped,
        warnings,
    )


def _skip_reason(
    xy: FloatArray,
    labelled: FloatArray,
    of_body: FloatArray,
    plausible: FloatArray,
    image_size: tuple[int, int],
) -> str | None:
    """Why a person cannot be recovered, or None.

    `labelled`, `of_body` and `plausible` (K,) are confidences: of all keypoints, of those that the
    body has, and of those among them that are not dropped.
    """
    every, given, left = (int(np.count_nonzero(c)) for c in (labelled, of_body, plausible))
    if given < MIN_KEYPOINTS:
        noun = "keypoint" if given == 1 else "keypoints"
        reason = f"{given} {noun} with confidence, at least {MIN_KEYPOINTS} are needed"
        if every > given:
            reason += f"; {every - given} more are points that the body does not have"
        return reason
    inconsistent = given - left > MAX_DROPPED * given or left < MIN_KEYPOINTS
    # Where everything is far away there is nothing left that could be outside: all are looked at.
    points = xy[(of_body if inconsistent else plausible) > 0]
    low, high = points.min(axis=0), points.max(axis=0)
    if (high - low).max() < MIN_EXTENT_PX:
        return (
            f"all keypoints lie within {MIN_EXTENT_PX:g} pixels of each other; they must be in "
            "pixels of the image, not in fractions of its size"
        )
    # Pixel centres are whole numbers, so the image reaches half a pixel beyond the outer ones.
    if (high < -0.5).any() or (low > np.asarray(image_size) - 0.5).any():
        corners = ", ".join(f"{value:.4g}" for value in (*low, *high))
        return (
            f"all keypoints lie in the box ({corners}), completely outside of the "
            f"{image_size[0]}x{image_size[1]} image"
        )
    outside = _outside(points, image_size)
    if outside.mean() > MAX_OUTSIDE:
        return _outside_message(outside, image_size)
    if inconsistent:
        return (
            f"{given - left} of {given} keypoints lie where no body that has the others could have "
            "them; are they of one person, in pixels of this image?"
        )
    return None


def _drop_implausible(
    xy: FloatArray, confidence: FloatArray, names: tuple[str, ...], image_size: tuple[int, int]
) -> list[int]:
    """Rows of keypoints that are too far from the image or from the person's other keypoints."""
    size = np.asarray(image_size, np.float64)
    # Keypoints of people at the edge may lie outside, but not by more than the image's own size.
    far = ((xy < -size) | (xy > 2 * size)).any(axis=-1)
    dropped = [int(row) for row in np.flatnonzero(far & (confidence > 0))]
    rows = [int(row) for row in np.flatnonzero(~far & (confidence > 0))]
    while len(rows) >= MIN_KEYPOINTS:
        worst = _implausible(xy[rows].astype(np.float64), [names[row] for row in rows])
        if worst is None:
            break
        dropped.append(rows.pop(worst))
    return sorted(dropped)


def _implausible(points: npt.NDArray[np.float64], names: list[str]) -> int | None:
    """The row that is farthest out of the others' reach or from its own limb, if any is.

    Two keypoints of a body in an image are at most scale x reach apart, where reach is the length
    of the limbs between them and scale the pixels per metre. So every pair gives a lower bound of
    the scale; a high quantile of them stands for the person's scale, and a keypoint most of whose
    own bounds are far above it does not belong to the person. (Distances to the centre or to a
    bounding box would not do: with a face and one wrist the wrist is far from everything.)
    """
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    to_others = ~np.eye(len(points), dtype=bool)
    away, limit = (each[to_others] for each in (distance, reach(tuple(names))))
    scale = (away / limit).reshape(len(points), -1)
    # The quantiles of what may be NaN take fifteen times as long.
    quantile = np.nanquantile if np.isnan(scale).any() else np.quantile
    usual = float(quantile(scale, _SCALE_QUANTILE))
    own: npt.NDArray[np.float64] = quantile(scale, _REACH_QUANTILE, axis=1)
    worst = int(own.argmax())
    if own[worst] > _MAX_REACH * max(usual, 1e-9):
        return worst
    # Toes on the face are in everybody's reach, but not in that of their ankle.
    lengths = limbs(tuple(names))
    linked = np.isfinite(lengths)
    limb = np.full(lengths.shape, np.inf)
    limb[linked] = distance[linked] / lengths[linked]
    shortest = np.where(linked.any(axis=1), limb.min(axis=1), 0.0)
    worst = int(shortest.argmax())
    return worst if shortest[worst] > _MAX_LIMB * max(usual, 1e-9) else None


def _outside(points: FloatArray, image_size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    beyond = (points < -0.5) | (points > np.asarray(image_size) - 0.5)
    return np.asarray(beyond.any(axis=-1))


def _outside_message(outside: npt.NDArray[np.bool_], image_size: tuple[int, int]) -> str:
    return (
        f"{outside.sum()} of {len(outside)} keypoints lie outside of the "
        f"{image_size[0]}x{image_size[1]} image; are they of a larger or a turned version of it?"
    )


def _dropped_message(xy: FloatArray, dropped: list[int], names: tuple[str, ...]) -> str:
    places = ", ".join(f"{names[row]} at ({xy[row, 0]:.0f}, {xy[row, 1]:.0f})" for row in dropped)
    return f"not used, as no body with the other keypoints could have them there: {places}"
