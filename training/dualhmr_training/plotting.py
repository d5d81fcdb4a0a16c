"""Figures of training, evaluation and benchmarks: size, colours, saving.

matplotlib is an optional dependency (extra `plot`), so it is imported inside functions.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dualhmr.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_SUFFIXES = (".png", ".pdf", ".svg")
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def check_plot(path: str | os.PathLike[str]) -> None:
    """Checks, before a long computation, that its figure can be saved to `path`.

    Raises ValueError for an unknown suffix and ImportError if matplotlib is not installed.
    """
    if Path(path).suffix not in PLOT_SUFFIXES:
        raise ValueError(f"cannot plot to {path}: its suffix must be {', '.join(PLOT_SUFFIXES)}")
    new_figure()


def new_figure() -> "Figure":
    """An empty figure, as wide as a page; ImportError if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('the plot needs matplotlib: pip install "dualhmr[plot]"') from error
    return Figure(figsize=(9, 4.2), dpi=150, layout="constrained")


def new_panels(figure: "Figure", count: int) -> "list[Axes]":
    """`count` panels side by side, with whole numbers (steps) on their x axes."""
    from matplotlib.ticker import MaxNLocator

    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for panel in panels:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(visible=True, alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return panels


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Saves the figure; the file is complete or not there."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
