"""Curves of measures between their controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._canvas import PALETTE, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from ..metrics import Curve


def curves(
    results: Sequence[Curve], *, names: Sequence[str] | None = None, ax: Any = None, path: Any = None
) -> Figure | SubFigure:
    """One or several curves of the same measure, beside random orders and the order that asks no model.

    Parameters
    ----------
    results : sequence of Curve
        With the same model and data; the controls are those of the first.
    names : sequence of str, default=None
        For the legend. None: the measure's name.
    ax : Axes, default=None
        None: a new figure.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    Figure
    """
    if not results:
        raise ValueError("results is empty; pass at least one Curve.")
    names = [c.name for c in results] if names is None else names
    if len(names) != len(results):
        raise ValueError(f"names has {len(names)} entries for {len(results)} curves.")
    if ax is None:
        figure: Any = new_figure((6, 4), path)
        ax = figure.subplots()
    else:
        figure = ax.figure
    first = results[0]
    low, high = first.random.min(axis=0), first.random.max(axis=0)
    ax.fill_between(first.fractions, low, high, color="0.85", label="random orders", linewidth=0)
    ax.plot(first.fractions, first.no_model, color="0.4", linestyle="--", label="without a model")
    for k, (curve, name) in enumerate(zip(results, names, strict=True)):
        ax.plot(curve.fractions, curve.values, color=PALETTE[k % len(PALETTE)], marker="o", markersize=3, label=name)
    ax.set_xlabel("share of the columns")
    ax.set_ylabel("score" if first.name in ("ROAR", "KAR") else "output")
    ax.set_title(f"{first.name} ({first.better} is better)")
    ax.set_xticks(np.linspace(0, 1, 5))
    ax.legend(frameon=False)
    save(figure, path)
    return figure
