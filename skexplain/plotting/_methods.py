"""``method_comparison.plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._agreement import agreement
from ._canvas import check_display, labels, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..methods import MethodComparison


class MethodsPlot:
    """Pictures of `skexplain.MethodComparison`.

    Parameters
    ----------
    comparison : MethodComparison
    """

    def __init__(self, comparison: MethodComparison) -> None:
        self._comparison = comparison

    def agreement(self, ax: Axes | None = None, *, path: Any = None) -> Axes:
        """Heat map of Kendall's tau between strategies; framed where two disagree beyond their noise.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw. None: a new figure.
        path : str or Path, default=None
            Where to write the picture.

        Returns
        -------
        Axes
        """
        return agreement(self._comparison, ax, path=path)

    def shares(self, ax: Axes | None = None, *, max_display: int = 15, path: Any = None) -> Axes:
        """Heat map of the shares of the columns by each strategy, the columns in the order of the consensus.

        Parameters
        ----------
        max_display : int, default=15
            Columns shown; a last line says how many are left out.
        ax, path
            As in `agreement`.

        Returns
        -------
        Axes
        """
        check_display(max_display)
        c = self._comparison
        shown = c.ranking[:max_display]
        left_out = len(c.names) - len(shown)
        size = (3.4 + 0.42 * len(c.methods), 2.6 + 0.34 * len(shown))
        ax = ax if ax is not None else new_figure(size, path).add_subplot()
        values = c.shares[:, shown].T
        rows = labels([c.names[j] for j in shown])
        top = values.max(initial=0) or 1.0
        self._cells(ax, values, rows, labels(c.methods), "Blues", (0, top), "{:.2f}", "share")
        if left_out:
            ax.set_xlabel(f"and {left_out} more columns", loc="left", fontsize="small")
        ax.set_title("Shares, ranked by the consensus", loc="left", fontsize="medium")
        save(ax.figure, path)
        return ax

    @staticmethod
    def _cells(
        ax: Any,
        values: np.ndarray,
        rows: list[str],
        columns: list[str],
        colours: str,
        limits: tuple[float, float],
        form: str,
        what: str,
    ) -> None:
        """Coloured cells with their numbers, legible on any of the colours."""
        image = ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                ink = "#FFFFFF" if dark else "#000000"
                ax.text(j, i, form.format(value), ha="center", va="center", fontsize="x-small", color=ink)
        ax.set_yticks(np.arange(len(rows)), rows)
        ax.set_xticks(np.arange(len(columns)), columns, rotation=60, ha="right")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.figure.colorbar(image, ax=ax, label=what)
