"""Questions that the paper leaves open and this project has to answer."""

from dualhmr_benchmarks.accuracy.claims.artefact import BEFORE, MPJPE, Artefact, Contrast, Row
from dualhmr_benchmarks.accuracy.experiments.shared_weights import ALL
from dualhmr_benchmarks.accuracy.experiments.trials import EFT, PAPER, RELEASE, TRAINED, Trial

_NO_NUMBERS = "The paper has no numbers for this."
_TOGETHER = 32

SCOPE = Artefact(
    name="scope",
    title="The head alone against all parameters",
    says="The paper adapts the whole network at test time; its release's inner step adapts the "
    "head alone. This project adapts the head alone, so that everything else is run once.",
    comparable=_NO_NUMBERS,
    rows=(
        Row("head, trained for the head", Trial("cliff_dual", TRAINED, few=True)),
        Row("all, trained for the head", Trial("cliff_dual", TRAINED, moves=ALL)),
        Row("head, trained for all", Trial("all_parameters", TRAINED, few=True)),
        Row("all, trained for all", Trial("all_parameters", TRAINED, moves=ALL)),
        Row("EFT, head", Trial("cliff_ordinary", EFT, few=True)),
        Row("EFT, all", Trial("cliff_ordinary", EFT, moves=ALL)),
    ),
    contrasts=(
        Contrast("head, trained for the head", "all, trained for all"),
        Contrast("head, trained for the head", "all, trained for all", MPJPE),
        Contrast("head, trained for the head", "all, trained for the head"),
        Contrast("EFT, head", "EFT, all"),
        Contrast("EFT, head", "EFT, all", MPJPE),
        Contrast("head, trained for the head", "EFT, all"),
        Contrast("all, trained for all", "EFT, all"),
    ),
)

SCHEDULE = Artefact(
    name="schedule",
    title="The paper's schedule against the release's",
    says="Algorithm 1 descends on keypoints and pseudo mesh at every step; the authors' code does "
    "so in the first, plain step, and then on the keypoints alone.",
    comparable=_NO_NUMBERS,
    rows=(
        Row("before adaptation", Trial("cliff_dual", TRAINED), BEFORE),
        Row("trained (plain step, then paper)", Trial("cliff_dual", TRAINED)),
        Row("paper", Trial("cliff_dual", PAPER)),
        Row("release", Trial("cliff_dual", RELEASE)),
        Row("eft", Trial("cliff_dual", EFT)),
        Row("ordinary networks: paper", Trial("cliff_ordinary", PAPER)),
        Row("ordinary networks: eft", Trial("cliff_ordinary", EFT)),
    ),
    contrasts=(
        Contrast("trained (plain step, then paper)", "release"),
        Contrast("trained (plain step, then paper)", "paper"),
        Contrast("paper", "eft"),
        Contrast("ordinary networks: paper", "ordinary networks: eft"),
    ),
)

BATCH = Artefact(
    name="batch",
    title="Weights of everybody's own against one set for a batch",
    says="The paper's equations give every sample its own weights; the release adapts one set for "
    "a batch, in training and at test time.",
    comparable=_NO_NUMBERS,
    rows=(
        Row("own, trained with own", Trial("cliff_dual", TRAINED, few=True)),
        Row("own, trained with shared", Trial("one_set_per_batch", TRAINED, few=True)),
        Row(
            f"shared by {_TOGETHER}, trained with shared",
            Trial("one_set_per_batch", TRAINED, people_at_once=_TOGETHER),
        ),
        Row(
            f"shared by {_TOGETHER}, trained with own",
            Trial("cliff_dual", TRAINED, people_at_once=_TOGETHER),
        ),
    ),
    contrasts=(
        Contrast("own, trained with own", "own, trained with shared"),
        Contrast("own, trained with own", f"shared by {_TOGETHER}, trained with shared"),
        Contrast(
            f"shared by {_TOGETHER}, trained with shared",
            f"shared by {_TOGETHER}, trained with own",
        ),
    ),
)
