"""Models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._canvas import PALETTE, check_display, finish_rows, label, labels, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from ..comparison import Comparison

TITLES = {"importances": "Own importances", "permutation": "Permutation importance"}
#: Pairs of models whose correlation is written out.
PAIRS = 3


def comparison(result: Comparison, *, ax: Any = None, path: Any = None, max_display: int = 15) -> Figure | SubFigure:
    """Grouped bars of every model: on the left its own importances, on the right the permutation importance.

    Columns are ranked by their mean share over models and both kinds; error bars are standard errors.

    Parameters
    ----------
    result : Comparison
    ax : Axes or sequence of two Axes, default=None
        One: the own importances only. None: a new figure.
    path : str or Path, default=None
        Where to write the picture.
    max_display : int, default=15
        Columns shown; a last line says how many are left out.

    Returns
    -------
    Figure
    """
    check_display(max_display)
    shown = result.ranking[:max_display]
    left_out = len(result.names) - len(shown)
    rest = f"and {left_out} more" if left_out else None
    n_models = len(result.models)
    if ax is None:
        height = 2.2 + (len(shown) + bool(rest)) * max(0.28, 0.08 + 0.11 * n_models)
        figure: Any = new_figure((11.5, height), path)
        axes: Sequence[Any] = figure.subplots(1, 2, sharey=True)
    else:
        axes = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
        if len(axes) not in (1, 2):
            raise ValueError(f"ax has {len(axes)} Axes; pass one or two.")
        figure = axes[0].figure
    handles = []
    for panel, kind in zip(axes, TITLES, strict=False):
        handles = _panel(panel, result, kind, shown)
        finish_rows(panel, labels([result.names[j] for j in shown]), rest)
    scored = [_scored(result, i) for i in range(n_models)]
    if ax is None:
        figure.legend(handles, scored, loc="outside upper left", ncols=min(n_models, 3), frameon=False)
    else:
        axes[0].legend(handles, scored, loc="lower right", fontsize="small")
    save(figure, path)
    return figure


def _panel(ax: Any, result: Comparison, kind: str, shown: np.ndarray) -> list[Any]:
    mean, error = result.mean(kind), result.error(kind)
    n = len(result.models)
    width = 0.8 / n
    y = np.arange(len(shown))
    handles = []
    for i in range(n):
        handles.append(
            ax.barh(
                y + (i - (n - 1) / 2) * width,
                np.nan_to_num(mean[i, shown]),
                height=0.92 * width,
                xerr=None if np.isnan(error[i]).any() else error[i, shown],
                color=PALETTE[i % len(PALETTE)],
                hatch="//" if i >= len(PALETTE) else None,
                error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
            )
        )
    agreement = _agreement(result, kind)
    pad = 6 + 12 * (agreement.count("\n") + 1 if agreement else 0)
    ax.set_title(TITLES[kind], loc="left", fontweight="bold", fontsize="medium", pad=pad)
    where = {"xycoords": "axes fraction", "textcoords": "offset points"}
    ax.annotate(agreement, (0, 1), xytext=(0, 4), va="bottom", fontsize="small", **where)
    ax.set_xlabel("share of the total" if kind == "importances" else f"fall of {result.scoring} on held-out rows")
    return handles


def _agreement(result: Comparison, kind: str) -> str:
    """Rank correlations in words that fit above a panel."""
    pairs = [c for c in result.correlations if c.kind == kind]
    if not pairs:
        return ""
    if len(pairs) > PAIRS:
        rho = [c.spearman for c in pairs]
        return f"Spearman between models {np.nanmin(rho):.2f} to {np.nanmax(rho):.2f}"
    lines = []
    for c in pairs:
        low, high = c.spearman_interval
        lines.append(
            f"{label(c.first, 16)} ~ {label(c.second, 16)}: Spearman {c.spearman:.2f} ({low:.2f} to {high:.2f})"
        )
    return "\n".join(lines)


def _scored(result: Comparison, i: int) -> str:
    low, high = result.score_intervals[i]
    interval = "" if np.isnan(low) else f" ({low:.3f} to {high:.3f})"
    return f"{label(result.models[i], 24)}: {result.scoring} {result.mean('scores')[i]:.3f}{interval}"
