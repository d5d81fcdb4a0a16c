"""Plots how trainings went: `python -m dualhmr_training.curve RUN... --out curve.png`.

Left the mean PA-MPJPE on held-out people: of the main network before and after its inner steps, and
of the auxiliary one. Right the losses that training descended on, of each network together.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from dualhmr.objective.weights import LossWeights
from dualhmr_training.plotting import COLOURS, check_plot, new_figure, new_panels, save_figure
from dualhmr_training.run import HISTORY, history_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, float]

_ERROR = "pa_mpjpe"
_CURVES = {"main": "main, before", "adapted": "main, adapted", "auxiliary": "auxiliary"}
_DASHES = ("-", "--", ":", "-.")


def read_history(run: Path) -> list[Row]:
    """The reports of a training's folder; FileNotFoundError, or ValueError if it is damaged."""
    path = run / HISTORY
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no training that has reported yet: no {path.name}")
    return [{name: float(value) for name, value in row.items()} for row in history_rows(path)]


def loss_sums(rows: Sequence[Row], network: str) -> list[float]:
    """The sum of a network's losses in every report."""
    names = [f"{network}/{loss.name}" for loss in fields(LossWeights)]
    return [sum(row.get(name, 0.0) for name in names) for row in rows]


def plot_curves(runs: Sequence[Path], path: str | os.PathLike[str]) -> None:
    """Plots the trainings in the folders `runs`, each in dashes of its own.

    Raises as `check_plot` and `read_history`.
    """
    check_plot(path)
    histories = {run.resolve().name: read_history(run) for run in runs}
    figure = new_figure()
    errors, losses = new_panels(figure, 2)
    for (name, rows), dash in zip(histories.items(), _DASHES, strict=False):
        prefix = f"{name}: " if len(histories) > 1 else ""
        steps = [row["step"] for row in rows]
        for (network, label), colour in zip(_CURVES.items(), COLOURS, strict=False):
            values = [row[f"{network}/{_ERROR}"] for row in rows if f"{network}/{_ERROR}" in row]
            if len(values) == len(steps):
                errors.plot(steps, values, dash, color=colour, label=prefix + label)
            sums = loss_sums(rows, network)
            if any(sums):
                losses.plot(steps, sums, dash, color=colour, label=prefix + label)
    _describe(errors, "PA-MPJPE on held-out people, mm")
    _describe(losses, "training loss")
    errors.legend(frameon=False)
    save_figure(figure, path)


def _describe(panel: "Axes", title: str) -> None:
    panel.set_title(title)
    panel.set_xlabel("training step")


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help=f"at most {len(_DASHES)}")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if len(options.runs) > len(_DASHES):
        parser.error(f"{len(options.runs)} trainings in one plot, expected at most {len(_DASHES)}")
    plot_curves(options.runs, options.out)


if __name__ == "__main__":
    main()
