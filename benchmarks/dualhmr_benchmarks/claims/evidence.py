"""The dual-network claim where both networks see the same evidence, and where they see other."""

from collections.abc import Iterator
from typing import Any

from dualhmr_benchmarks.claims.artefact import AFTER, BEFORE, Artefact, Comparison, Row, row
from dualhmr_benchmarks.claims.experiments.experiment import EFT, PAPER, TRAINED
from dualhmr_benchmarks.claims.experiments.populations import GIVEN, NOISES
from dualhmr_benchmarks.claims.experiments.shared_weights import ALL

_BEFORE, _HEAD, _ALL = "before adaptation", "EFT, head", "EFT, all parameters"
_SAME, _OTHER, _TRUTH = "same evidence", "other evidence", "truth"
_ORDINARY_SAME, _META_SAME = f"ordinary, {_SAME}", f"meta, {_SAME}"
_ORDINARY_OTHER, _META_OTHER = f"ordinary, {_OTHER}", f"meta, {_OTHER}"
_META_RENDERED = f"{_META_OTHER}, rendered"
_AUXILIARY = "the auxiliary alone"
_EFT_OF_AUXILIARY = f"EFT of the auxiliary, {_OTHER}"

_COMPARED = (
    (_ALL, _HEAD),
    (_ORDINARY_SAME, _HEAD),
    (_ORDINARY_OTHER, _HEAD),
    (_META_SAME, _HEAD),
    (_META_OTHER, _HEAD),
    (_META_RENDERED, _HEAD),
    (_META_SAME, _ALL),
    (_META_OTHER, _ALL),
    (_ORDINARY_OTHER, _ORDINARY_SAME),
    (_META_OTHER, _META_SAME),
    (_META_RENDERED, _META_SAME),
    (_META_SAME, _ORDINARY_SAME),
    (_META_OTHER, _ORDINARY_OTHER),
    (_META_OTHER, _EFT_OF_AUXILIARY),
)


def _rows(noise: str) -> Iterator[Row]:
    """Every method on the same few people, so that any two can be paired."""

    def method(label: str, recipe: str, schedule: str, step: int = AFTER, **options: Any) -> Row:
        options |= {"style": GIVEN, "quality": noise, "few": True}
        return row(f"{label}, {noise}", recipe, schedule, step, **options)

    ordinary, dual, eye = "given_ordinary", "given_dual", "given_dual_eye"
    yield method(_BEFORE, ordinary, EFT, BEFORE)
    yield method(_HEAD, ordinary, EFT)
    yield method(_ALL, ordinary, EFT, scope=ALL)
    yield method(_ORDINARY_SAME, ordinary, PAPER)
    # Training gives this network the same weights beside either main network.
    yield method(_ORDINARY_OTHER, ordinary, PAPER, auxiliary_from=eye)
    yield method(f"ordinary, {_TRUTH}", ordinary, PAPER, true_mesh=True)
    yield method(_META_SAME, dual, TRAINED)
    yield method(_META_OTHER, eye, TRAINED)
    yield method(_META_RENDERED, eye, TRAINED, rendered=True)
    yield method(f"meta, {_TRUTH}", eye, TRAINED, true_mesh=True)
    yield method(f"{_AUXILIARY}, {_SAME}", dual, EFT, BEFORE, of_auxiliary=True)
    yield method(f"{_AUXILIARY}, {_OTHER}", eye, EFT, BEFORE, of_auxiliary=True)
    yield method(_EFT_OF_AUXILIARY, eye, EFT, of_auxiliary=True)


EVIDENCE = Artefact(
    name="evidence",
    title="An auxiliary network that sees the same evidence, and one that sees other",
    says="The pseudo mesh of the auxiliary network guides the main network. Both see the same "
    "photograph; what other evidence would give is not asked.",
    comparable="The paper has no numbers for this. The main network reads the 2D keypoints that "
    "test time fits, as that of the default bundle does. The auxiliary network reads the same "
    "keypoints (same evidence), or also the landmarks of a frozen landmark network that looks at "
    "the image (other evidence). Landmarks are simulated, in training and at test time; where rows "
    "say rendered, the landmark network looks at renderings of the test people. The truth as "
    "pseudo mesh bounds what any auxiliary network can give.",
    rows=tuple(each for noise in NOISES for each in _rows(noise)),
    comparisons=tuple(
        Comparison(f"{of}, {noise}", f"{against}, {noise}")
        for noise in NOISES
        for of, against in _COMPARED
    ),
    levels=tuple(NOISES),
)
