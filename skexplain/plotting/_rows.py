"""Attributions of many rows at once, and of one: beeswarm, dependence and force.

shap's pictures of the same names are open to every `Explanation` through ``to_shap()``. These three are drawn here,
because shap's use pyplot's current figure and the global random generator, and read names as mathematics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .._columns import evenly
from ._canvas import (
    DOWN,
    GREY,
    MOST_LEVELS,
    PALETTE,
    UP,
    check_display,
    finish_rows,
    label,
    labels,
    new_figure,
    one_axes,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..explanation import Explanation

#: Most rows that are drawn as dots, and bins in which dots are stacked.
MOST_DOTS, BINS = 2000, 120
#: Height of a strip, in inches.
UNIT = 0.55
#: What of viridis is seen on white.
SEEN = 0.9


def beeswarm(exp: Explanation, values: NDArray, what: str, ax: Axes | None, max_display: int, path: Any) -> Axes:
    """A dot for each row and column, at its attribution, coloured by the row's value."""
    check_display(max_display)
    size = np.abs(values).mean(axis=0)
    order = np.argsort(-size, kind="stable")
    shown, hidden = order[:max_display], order[max_display:]
    rows = evenly(len(values), MOST_DOTS)
    rest = f"and {len(hidden)} more ({100 * size[hidden].sum() / (size.sum() or 1):.0f} %)" if len(hidden) else None
    ax = one_axes(ax, path, (3 * len(shown) + 1) // 2 + bool(rest))
    data = columns_of(exp)
    places, heights, colours = [], [], []
    for k, j in enumerate(shown):
        places.append(values[rows, j])
        heights.append(k + _stacked(values[rows, j]))
        colours.append(_level(None if data is None else data[j], rows))
    x, y, c = map(np.concatenate, (places, heights, colours))
    known = np.isfinite(c)
    dots: dict[str, Any] = {"s": 9, "linewidths": 0, "rasterized": True}  # thousands of dots in an SVG are megabytes
    ax.scatter(x[~known], y[~known], color="#9A9A9A", **dots)
    drawn = ax.scatter(x[known], y[known], c=c[known], cmap=_seen(), vmin=0, vmax=1, **dots)
    finish_rows(ax, labels([exp.names[j] for j in shown]), rest)
    if known.any():
        bar = ax.figure.colorbar(drawn, ax=ax, ticks=[0, 1], aspect=40, pad=0.02)
        bar.ax.set_yticklabels(["low", "high"])
        bar.set_label("value of the column", labelpad=-12)
        bar.outline.set_visible(False)  # type: ignore[operator]
    some = "" if len(rows) == len(values) else f"{len(rows)} of "
    ax.set_title(f"{type(exp.strategy).__name__}, {some}{len(values)} rows", fontsize="medium", loc="left")
    ax.set_xlabel(f"attribution to the {what}")
    save(ax.figure, path)
    return ax


def dependence(
    exp: Explanation, values: NDArray, what: str, column: Any, color_by: Any, ax: Axes | None, path: Any
) -> Axes:
    """Attribution of a column against its values."""
    data = columns_of(exp)
    if data is None:
        raise ValueError("The rows of this explanation are no table of these columns, so there are no values to draw.")
    j = _position(exp, column, "column")
    rows = evenly(len(values), MOST_DOTS)
    x, names = _numbers(data[j], rows, exp.names[j])
    k = None if color_by is None else _position(exp, color_by, "color_by")
    colour = np.zeros(len(rows)) if k is None else _level(data[k], rows)
    known = np.isfinite(colour)
    if not known.any():
        raise ValueError(f"color_by={color_by!r} has no two different numbers, so there is nothing to colour by.")
    ax = ax if ax is not None else new_figure((6, 4), path).add_subplot()
    dots: dict[str, Any] = {"s": 16, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    if k is None:
        ax.scatter(x, values[rows, j], color=PALETTE[0], **dots)
    else:
        drawn = ax.scatter(x[known], values[rows, j][known], c=colour[known], cmap=_seen(), vmin=0, vmax=1, **dots)
        bar = ax.figure.colorbar(drawn, ax=ax, ticks=[0, 1], aspect=30, pad=0.02)
        bar.ax.set_yticklabels(["low", "high"])
        bar.set_label(label(exp.names[k]), labelpad=-12)
        bar.outline.set_visible(False)  # type: ignore[operator]
    if names is not None:
        ax.set_xticks(range(len(names)), [label(n, 16) for n in names], rotation=45 if len(names) > 5 else 0)
    else:
        ax.locator_params(axis="x", nbins=6)
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(label(exp.names[j], 60))
    ax.set_ylabel(label(f"attribution to the {what}", 46))
    ax.set_title(f"{type(exp.strategy).__name__}, {len(values)} rows", fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


def force(
    texts: list[str],
    values: NDArray,
    base: float,
    prediction: float,
    title: str,
    what: str,
    ax: Axes | None,
    max_display: int,
    path: Any,
) -> Axes:
    """A strip on which what raises the output meets what lowers it, at the prediction."""
    check_display(max_display)
    order = np.argsort(-np.abs(values), kind="stable")
    sides = {1: [j for j in order if values[j] > 0], -1: [j for j in order if values[j] < 0]}
    listed = {sign: members[:max_display] for sign, members in sides.items()}
    lines = 1 + max(1, *(len(listed[sign]) + (len(sides[sign]) > len(listed[sign])) for sign in sides))
    ax = ax if ax is not None else new_figure((8, 1.1 + UNIT + (42 + 10 * lines) / 72), path).add_subplot()
    reach = [base, prediction, prediction - values[values > 0].sum(), prediction - values[values < 0].sum()]
    span = np.ptp(reach) or 1.0
    number = {j: k for k, j in enumerate([j for j in order if j in listed[1] or j in listed[-1]], 1)}
    for sign, members in sides.items():
        edge = prediction
        rest = sum(abs(values[j]) for j in members[max_display:])
        pieces = [(number[j], abs(values[j])) for j in listed[sign]] + ([("", rest)] if rest else [])
        for text, width in pieces:
            colour = (UP if sign > 0 else DOWN) if text else GREY
            ax.barh(0, -sign * width, left=edge, height=0.8, color=colour, edgecolor="white", linewidth=0.8)
            if width > 0.025 * span:
                ax.text(
                    edge - sign * width / 2, 0, str(text), color="white", ha="center", va="center", fontsize="small"
                )
            edge -= sign * width
    for at, name in ((base, "base"), (prediction, "prediction")):
        ax.plot([at, at], [-0.4, 0.55], color="#222222", linewidth=1.4 if name == "prediction" else 0.9)
    close = abs(base - prediction) < 0.3 * span
    first, last = sorted([(base, "base"), (prediction, "prediction")])
    for (at, name), side in ((first, "right" if close else "center"), (last, "left" if close else "center")):
        ax.annotate(
            f"{name} {at:.3g}", (at, 0.55), xytext=(0, 2), textcoords="offset points", ha=side, fontsize="small"
        )
    # the axis below the strip, and below that, still inside of the panel, the names
    below = (42 + 10 * lines) / 72 / UNIT
    ax.set_ylim(-0.45 - below, 1)
    ax.spines["bottom"].set_position(("data", -0.45))
    ax.set_xlim(min(reach) - 0.08 * span, max(reach) + 0.08 * span)
    ax.set_yticks([])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.locator_params(axis="x", nbins=6)
    ax.set_title(label(title, 80), fontsize="medium", loc="left")
    for sign, heading, x in ((1, "raise it", 0.0), (-1, "lower it", 0.52)):
        lines_of = [f"{number[j]}  {texts[j]} ({values[j]:+.3g})" for j in listed[sign]]
        hidden = sides[sign][max_display:]
        lines_of += [f"and {len(hidden)} more ({sum(values[hidden]):+.3g})"] if hidden else []
        ax.annotate(
            "\n".join([f"These {heading}:" if lines_of else f"None {heading}.", *lines_of]),
            (x, -0.45),
            xycoords=("axes fraction", "data"),
            xytext=(0, -38),
            textcoords="offset points",
            va="top",
            fontsize="small",
            color="#9A4400" if sign > 0 else "#005685",
            annotation_clip=False,
        )
    ax.set_xlabel(label(what, 60))
    save(ax.figure, path)
    return ax


def columns_of(exp: Explanation) -> list[Any] | None:
    """The rows' values of each entry, None for an entry that is several columns; None if all are."""
    width = exp.data.shape[1] if len(getattr(exp.data, "shape", ())) == 2 else 0
    columns = exp.columns if exp.columns is not None else np.arange(len(exp.names))
    if width == 0 or (exp.columns is None and width != len(exp.names)):
        return None
    frame = hasattr(exp.data, "iloc")
    one = lambda j: np.asarray(exp.data.iloc[:, j]) if frame else np.asarray(exp.data)[:, j]  # noqa: E731
    return [one(j) if 0 <= j < width else None for j in columns]


def _position(exp: Explanation, column: Any, what: str) -> int:
    if isinstance(column, str):
        found = [j for j, name in enumerate(exp.names) if name == column]
        if len(found) != 1:
            few = ", ".join(map(repr, exp.names[:10])) + (", ..." if len(exp.names) > 10 else "")
            problem = "does not exist" if not found else f"is the name of {len(found)} columns; pass a position"
            raise ValueError(f"{what}={column!r} {problem}; the columns are {few}.")
        column = found[0]
    if not -len(exp.names) <= column < len(exp.names):
        raise ValueError(f"{what}={column!r}; the explanation has {len(exp.names)} columns, numbered from 0.")
    data = columns_of(exp)
    if data is None or data[column] is None:
        raise ValueError(f"{what}={exp.names[column]!r} is several columns, which have no one value; pass one of them.")
    return int(column)


def _stacked(x: NDArray) -> NDArray:
    """Heights at which dots at ``x`` lie beside each other, within 0.4 of 0."""
    span = np.ptp(x)
    if span == 0:
        return np.linspace(-0.4, 0.4, len(x)) if len(x) > 1 else np.zeros(len(x))
    bins = np.minimum(((x - x.min()) / span * BINS).astype(int), BINS - 1)
    height = np.zeros(len(x))
    for k in np.unique(bins):
        inside = np.flatnonzero(bins == k)
        at = (np.arange(len(inside)) + 1) // 2  # 0, 1, -1, 2, -2 and so on
        height[inside] = at * np.where(np.arange(len(inside)) % 2, 1, -1)
    most = np.abs(height).max()
    return height * min(0.12, 0.4 / most) if most else height


def _level(column: Any, rows: NDArray) -> NDArray:
    """Ranks of a column's values from 0 to 1, which outliers cannot squeeze; NaN where they have no order."""
    try:
        numbers = np.asarray(column if column is not None else np.full(rows[-1] + 1, np.nan), dtype=float)[rows]
    except (TypeError, ValueError):
        return np.full(len(rows), np.nan)
    known = np.isfinite(numbers)
    level = np.full(len(rows), np.nan)
    if known.any() and np.ptp(numbers[known]) > 0:
        ranks = rankdata(numbers[known])
        level[known] = (ranks - ranks.min()) / np.ptp(ranks)
    return level


def _numbers(column: Any, rows: NDArray, name: str) -> tuple[NDArray, list[str] | None]:
    """Places on the axis, and names of them if these are levels."""
    try:
        return np.asarray(column, dtype=float)[rows], None
    except (TypeError, ValueError):
        levels, place = np.unique(np.asarray(column).astype(str)[rows], return_inverse=True)
        if len(levels) > MOST_LEVELS:
            raise ValueError(
                f"column={name!r} has {len(levels)} different values that are no numbers; at most {MOST_LEVELS} "
                "can be drawn."
            ) from None
        return place.astype(float), [str(level) for level in levels]


def _seen() -> Any:
    """Dark for low, light for high, and both seen on white, in any light."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    return ListedColormap(mpl.colormaps["viridis"](np.linspace(0, SEEN, 256)))
