"""All that `dualhmr reproduce` can make, by name."""

from collections.abc import Mapping

from dualhmr_benchmarks.claims.ablations import (
    BATCH,
    SCHEDULE,
    SCOPE,
    TABLE_7,
    TABLE_8,
    TABLE_10,
    TABLE_11,
)
from dualhmr_benchmarks.claims.artefact import Artefact
from dualhmr_benchmarks.claims.figures import FIGURE_3, FIGURE_4, FIGURE_6, TABLE_6
from dualhmr_benchmarks.claims.tables import TABLE_1, TABLE_2, TABLE_3, TABLE_5, TABLE_9

ARTEFACTS: Mapping[str, Artefact] = {
    artefact.name: artefact
    for artefact in (
        TABLE_1,
        TABLE_2,
        TABLE_3,
        TABLE_5,
        TABLE_6,
        TABLE_7,
        TABLE_8,
        TABLE_9,
        TABLE_10,
        TABLE_11,
        FIGURE_3,
        FIGURE_4,
        FIGURE_6,
        SCOPE,
        SCHEDULE,
        BATCH,
    )
}
