"""What the command line of `dualhmr reproduce` offers by name.

Apart from the modules that do it, since every subcommand of `dualhmr` loads the choices of all.
"""

BUDGET_NAMES = ("small", "full", "tiny")
ARTEFACT_NAMES = (
    "table1",
    "table2",
    "table3",
    "table5",
    "table6",
    "table7",
    "table8",
    "table9",
    "table10",
    "table11",
    "figure3",
    "figure4",
    "figure6",
    "scope",
    "schedule",
    "batch",
)
EVERYTHING = "all"
