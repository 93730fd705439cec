"""What all pictures share: colours, names that fit, and where they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._files import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, distinct for colour-blind readers; yellow last, it is faint on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
UP, DOWN, GREY = "#D55E00", "#0072B2", "#767676"
#: Longest name written out.
LONGEST = 30
DPI = 150
#: Most rows of a picture, and levels that an axis has a place for.
MOST, MOST_LEVELS = 200, 20


def new_figure(size: tuple[float, float], path: Any) -> Figure:
    """A figure: pyplot's, so that the user can show it, or a bare one if it goes to a file."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ImportError("Pictures need matplotlib. Run: pip install 'skexplain[plot]'") from exc
    if path is not None:
        return Figure(figsize=size, layout="constrained")
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained")


def one_axes(ax: Axes | None, path: Any, n_rows: int) -> Axes:
    """The caller's Axes, or one of a size for ``n_rows`` horizontal bars."""
    return ax if ax is not None else new_figure((7, 1.2 + 0.28 * n_rows), path).add_subplot()


def save(figure: Any, path: Any) -> None:
    """Write the picture under another name first, so that no half-written file is left."""
    if path is None:
        return
    with written(path, Path(path).suffix or ".png") as temporary:
        figure.savefig(temporary, dpi=DPI)


def label(name: str, longest: int = LONGEST) -> str:
    """A name that fits: shortened in the middle, where names differ least, and never read as mathematics.

    Examples
    --------
    >>> label("concentration of total dissolved solids (mg/l)")
    'concentration …d solids (mg/l)'
    """
    name = " ".join(str(name).split())
    if len(name) > longest:
        head = (longest - 1) // 2
        name = f"{name[:head]}…{name[-(longest - 1 - head) :]}"
    return name.replace("$", r"\$")


def labels(names: Sequence[str]) -> list[str]:
    """Names that fit and stay distinct: where shortening hides the difference, the difference is shown.

    Examples
    --------
    >>> labels(["temperature on day 1 of the week, at noon, roof", "temperature on day 2 of the week, at noon, roof"])
    ['temperatur… day 1 of the week, …', 'temperatur… day 2 of the week, …']
    """
    short = [label(n) for n in names]
    result = []
    for name, text in zip(names, short, strict=True):
        others = [n for n, t in zip(names, short, strict=True) if t == text and n != name]
        result.append(_around_difference(name, others) if others else text)
    return result


def _around_difference(name: str, others: Sequence[str]) -> str:
    """Beginning of a name, and the part in which it differs from the most similar of the others."""
    start = max(_shared(name, other) for other in others)
    head, window = LONGEST // 3, 2 * LONGEST // 3
    tail = name[start - 5 : start - 5 + window]
    return label(f"{name[:head]}…{tail}" + "…" * (start - 5 + window < len(name)), LONGEST + 2)


def _shared(a: str, b: str) -> int:
    """Characters that two names begin with alike."""
    return next((k for k, (p, q) in enumerate(zip(a, b, strict=False)) if p != q), min(len(a), len(b)))


def check_display(max_display: int) -> None:
    if not 1 <= max_display <= MOST:
        raise ValueError(f"max_display={max_display} must be at least 1, and at most {MOST}, which can still be read.")


def ranked_bars(
    ax: Axes, names: Sequence[str], values: NDArray, error: NDArray | None, *, rest: str | None, unit: str
) -> None:
    """Horizontal bars from the top down, with error bars, and one line of text for what is left out."""
    y = np.arange(len(names))
    bars = {} if error is None or np.isnan(error).all() else {"xerr": error}
    ax.barh(y, values, height=0.7, color=PALETTE[0], ecolor="#333333", capsize=2.5, **bars)  # type: ignore[arg-type]
    finish_rows(ax, labels(names), rest)
    ax.set_xlabel(unit)


def finish_rows(ax: Axes, texts: Sequence[str], rest: str | None) -> None:
    """Row labels, the first on top, and the look of the panel."""
    texts = [*texts, *([rest] if rest else [])]
    ax.set_yticks(np.arange(len(texts)), texts)
    for tick in ax.get_yticklabels()[-1:] if rest else []:
        tick.set_color(GREY)
    ax.set_ylim(len(texts) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.axvline(0, color="#333333", linewidth=0.8)
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=5)
