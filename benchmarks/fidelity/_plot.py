"""The picture: recovery by data set, and what a choice of columns is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skexplain._files import written

from . import _recovery, _selection
from ._findings import FOREST, aucs
from ._networks import DEFAULT, NETWORKS
from ._peers import FOREST as FOREST_METHODS
from ._tables import gains, present

#: Okabe and Ito's colours; marks can be told apart without them.
COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#009E73")
MARKS = "osD^vP"


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Both parts beside each other, in one file that is there at once."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 6.4), width_ratios=(1.45, 1), constrained_layout=True)
    draw_recovery(left, frame[frame.part == "recovery"])
    draw_selection(right, frame[frame.part == "selection"])
    with written(path, ".png") as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)


def draw_recovery(ax: Any, frame: pd.DataFrame) -> None:
    """Means and standard deviations of the AUC over draws."""
    shown = [(model, DEFAULT) for model in NETWORKS]
    shown += [(FOREST, method) for method in FOREST_METHODS] + [(_recovery.LASSONET, "path")]
    data = present(frame, _recovery.DATA, "data")
    y = np.arange(len(data))[::-1]
    for k, ((model, method), colour, mark) in enumerate(zip(shown, COLOURS, MARKS, strict=True)):
        draws = [aucs(frame, model, method, name) for name in data]
        mean, spread = np.array([(d.mean(), d.std(ddof=1) if len(d) > 1 else 0.0) for d in draws]).T
        label = model if method == "path" else f"{model}, {method.replace('_', ' ')}"
        at = y + 0.12 * (2.5 - k)
        ax.errorbar(mean, at, xerr=spread, fmt=mark, color=colour, ms=5, lw=1.2, label=label)
    for edge in y[:-1] - 0.5:
        ax.axhline(edge, color="0.9", lw=0.8, zorder=0)
    ax.axvline(0.5, color="0.6", ls=":")
    ax.set_yticks(y, data)
    ax.set_ylim(-0.6, len(data) - 0.4)
    ax.set_xlim(right=1.02)
    ax.set_xlabel("AUC: a column that matters is above one that does not (dotted: random order)")
    ax.set_title("Are the columns found that the target was made of?", fontsize=11)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, fontsize=9)


def draw_selection(ax: Any, frame: pd.DataFrame) -> None:
    """Mean gain over all columns with its standard error over data sets, shares and draws."""
    judge = next(iter(_selection.JUDGES))
    frame = frame.assign(gain=gains(frame), kind=frame.data.map(lambda d: _selection.DATA[d][1]))
    frame = frame[frame.model == judge]
    methods = present(frame, [_selection.ORIGINAL, *_selection.METHODS, _selection.RANDOM], "method")
    y = np.arange(len(methods))[::-1]
    kinds = present(frame, _selection.KINDS, "kind")
    for k, (kind, colour, mark) in enumerate(zip(kinds, COLOURS[::2], MARKS, strict=False)):
        of_kind = frame[frame.kind == kind].groupby("method").gain
        mean, error = of_kind.mean()[methods], of_kind.sem()[methods].fillna(0)
        at = y + 0.2 * (1 - k)
        ax.errorbar(mean, at, xerr=error, fmt=mark, color=colour, ms=5, lw=1.2, label=kind.replace("_", " "))
    ax.axvline(0, color="0.6", ls=":")
    ax.set_yticks(y, [m.replace("_", " ") for m in methods])
    ax.set_xlabel(f"gain of a {judge} over all columns (accuracy, R²)")
    ax.set_title("What is a choice of columns worth?", fontsize=11)
    ax.legend(title="columns added", loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False, fontsize=9)
