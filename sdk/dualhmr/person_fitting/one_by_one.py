"""Persons one after the other, for fitters that take one at a time."""

from collections.abc import Callable, Sequence

from dualhmr.adaptation.schedule import NonFiniteError, Schedule
from dualhmr.person import AdaptedPerson, PersonEvidence


def adapt_one_by_one(
    adapt: Callable[[PersonEvidence, Schedule], AdaptedPerson],
    people: Sequence[PersonEvidence],
    schedule: Schedule,
) -> list[AdaptedPerson | NonFiniteError]:
    """`PersonFitter.adapt_all` by the `adapt` of a fitter that takes one person at a time."""
    results: list[AdaptedPerson | NonFiniteError] = []
    for person in people:
        try:
            results.append(adapt(person, schedule))
        except NonFiniteError as error:
            results.append(error)
    return results
