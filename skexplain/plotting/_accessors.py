"""``importances.plot`` and ``explanation.plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._canvas import DOWN, GREY, UP, check_display, finish_rows, label, new_figure, one_axes, ranked_bars, save
from ._image import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..explanation import Explanation, Importances


class ImportancesPlot:
    """Pictures of `skexplain.Importances`.

    Parameters
    ----------
    importances : Importances
    """

    def __init__(self, importances: Importances) -> None:
        self._importances = importances

    def bar(self, ax: Axes | None = None, *, max_display: int = 20, path: Any = None) -> Axes:
        """Ranked horizontal bars with standard errors.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw. None: a new figure.
        max_display : int, default=20
            Bars; a last line says how many columns are left out, and what share of the total they have.
        path : str or Path, default=None
            Where to write the picture.

        Returns
        -------
        Axes
        """
        check_display(max_display)
        imp = self._importances
        shown = imp.ranking[:max_display]
        rest = _rest(len(imp) - len(shown), 1 - imp.normalized[shown].sum())
        ax = one_axes(ax, path, len(shown) + bool(rest))
        names = [imp.names[j] for j in shown]
        local = getattr(imp.strategy, "local", True)
        scoring = getattr(imp.strategy, "scoring", None) or "loss"
        what = {"predicted": "the predicted class", "all": "all outputs"}.get(imp.target, imp.target)
        # only classifiers have classes
        unit = f"mean |attribution|, {f'{imp.output} of {what}' if imp.per_class else 'prediction'}"
        if getattr(imp.strategy, "needs_training", False):
            unit = "size of what the weights did during training"
        elif not local:
            unit = "rise of the loss" if scoring == "loss" else f"fall of {scoring}"
        # a loss of score is shown as measured: bars below 0 are noise, and their size says how much there is
        values = imp.values if local else imp.signed
        ranked_bars(ax, names, values[shown], imp.error[shown], rest=rest, unit=unit)
        ax.set_title(f"{type(imp.strategy).__name__}, {imp.n_rows} rows", fontsize="medium", loc="left")
        save(ax.figure, path)
        return ax


class ExplanationPlot:
    """Pictures of `skexplain.Explanation`.

    Parameters
    ----------
    explanation : Explanation
    """

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation

    def bar(self, ax: Axes | None = None, *, max_display: int = 20, path: Any = None) -> Axes:
        """Mean absolute attribution of each column over the rows, and outputs, explained.

        Parameters and returned value are those of `ImportancesPlot.bar`.
        """
        check_display(max_display)
        exp = self._explanation
        size = np.abs(exp.values).reshape(*exp.values.shape[:2], -1)
        over_outputs = size.mean(axis=2)
        mean = over_outputs.mean(axis=0)
        error = over_outputs.std(axis=0, ddof=1) / np.sqrt(len(exp)) if len(exp) > 1 else None
        shown = np.argsort(-mean, kind="stable")[:max_display]
        total = mean.sum()
        rest = _rest(len(mean) - len(shown), 1 - mean[shown].sum() / total if total > 0 else 0.0)
        ax = one_axes(ax, path, len(shown) + bool(rest))
        names = [exp.names[j] for j in shown]
        unit = f"mean |attribution|, {_output(exp)}"
        ranked_bars(ax, names, mean[shown], None if error is None else error[shown], rest=rest, unit=unit)
        rows = f"{len(exp)} row" + "s" * (len(exp) != 1)
        ax.set_title(f"{type(exp.strategy).__name__}, {rows}", fontsize="medium", loc="left")
        save(ax.figure, path)
        return ax

    def row(
        self, i: int, ax: Axes | None = None, *, output: Any = None, max_display: int = 12, path: Any = None
    ) -> Axes:
        """How one row gets from the base value to its prediction.

        Each bar starts where the one above it ends; orange raises the output, blue lowers it. Values of
        strategies that do not add up to the prediction are drawn from 0.

        Parameters
        ----------
        i : int
            Position of the row.
        output : label, default=None
            Which output, if all were explained. None: the largest.
        ax, max_display, path
            As in `ImportancesPlot.bar`; the columns left out share one bar.

        Returns
        -------
        Axes
        """
        check_display(max_display)
        exp = self._explanation
        _check_position(exp, i)
        values, base, prediction, target = self._one(i, output)
        order = np.argsort(-np.abs(values), kind="stable")
        shown, hidden = order[:max_display], order[max_display:]
        steps = [*values[shown], *([values[hidden].sum()] if len(hidden) else [])]
        texts = [self._named(i, j) for j in shown] + ([f"and {len(hidden)} more"] if len(hidden) else [])
        known = np.isfinite(base)
        start = base if known else 0.0
        # without a base the values add up to nothing in particular: each bar starts at 0
        ends = start + np.cumsum(steps) if known else np.array(steps)
        starts = np.concatenate([[start], ends[:-1]]) if known else np.zeros(len(steps))
        ax = one_axes(ax, path, len(steps) + 1)
        y = np.arange(len(steps))
        ax.barh(y, steps, left=starts, height=0.7, color=[UP if s > 0 else DOWN for s in steps])
        if known:
            ax.vlines(ends[:-1], y[:-1] - 0.35, y[1:] + 0.35, color=GREY, linewidth=0.7)
        finish_rows(ax, texts, None)
        ax.lines[-1].set_visible(bool(not known))
        reach = np.concatenate([[start], ends])
        span = np.ptp(reach) or 1.0
        ax.set_xlim(reach.min() - 0.14 * span, reach.max() + 0.14 * span)
        for k, step in enumerate(steps):
            side = "left" if step > 0 else "right"
            ax.annotate(
                f"{step:+.3g}",
                (ends[k], k),
                xytext=(3 if step > 0 else -3, 0),
                textcoords="offset points",
                va="center",
                ha=side,
                fontsize="small",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )
        what = _output(exp) if target is None else f"{_output(exp)} of {target}"
        title = f"Row {i}: {what}"
        if known:
            ax.axvline(start, color=GREY, linewidth=0.8, linestyle=":")
            title += f" from {start:.3g} (base) to {prediction:.3g}"
        ax.set_title(label(title, 80), fontsize="medium", loc="left")
        ax.set_xlabel(what if known else f"attribution to the {what}")
        save(ax.figure, path)
        return ax

    def image(
        self,
        i: int = 0,
        ax: Axes | None = None,
        *,
        shape: tuple[int, ...] | None = None,
        output: Any = None,
        overlay: bool = True,
        path: Any = None,
    ) -> Axes:
        """Where in a picture, or in a sequence, the values are: orange raises the output, blue lowers it.

        `skexplain.plotting.images` draws several rows, and several strategies.

        Parameters
        ----------
        i : int, default=0
            Position of the row.
        shape : tuple of int, default=None
            Shape of the row: ``(h, w)``, ``(h, w, c)`` or ``(c, h, w)``; the shorter of the outer axes is that of the
            channels, whose values are summed. None: as the network reads it.
        overlay : bool, default=True
            Draw colours on the row in grey. False: colours alone.
        output, ax, path
            As in `row`.

        Returns
        -------
        Axes

        Raises
        ------
        ValueError
            For rows that are no pictures, or a shape of another size.
        """
        exp = self._explanation
        _check_position(exp, i)
        values, _, _, target = self._one(i, output)
        picture = Picture(exp, i, values, target, shape)
        ax = ax if ax is not None else new_figure((4.4, 3.6), path).add_subplot()
        scale = picture.draw(ax, np.abs(picture.map).max(), picture.signed, overlay)
        what = _output(exp) if target is None else f"{_output(exp)} of {target}"
        ax.figure.colorbar(scale, ax=ax, label=f"attribution to the {what}")
        ax.set_title(label(f"{type(exp.strategy).__name__}, row {i}", 60), fontsize="medium", loc="left")
        save(ax.figure, path)
        return ax

    def _one(self, i: int, output: Any) -> tuple[NDArray, float, float, Any]:
        """Values, base, prediction and label of the output to draw."""
        exp = self._explanation
        if exp.values.ndim == 2:
            if output is not None:
                raise ValueError(f"output={output!r}, but one output a row was explained; explain with target='all'.")
            target = None if exp.target is None or exp.outputs is None else exp.target[i]
            return exp.values[i], float(exp.base_values[i]), float(exp.predictions[i]), target
        labels = list(range(exp.values.shape[2])) if exp.outputs is None else list(exp.outputs)
        if output is not None and output not in labels:
            raise ValueError(f"output={output!r} does not exist; outputs are {labels}.")
        k = int(exp.predictions[i].argmax()) if output is None else labels.index(output)
        return exp.values[i, :, k], float(exp.base_values[i, k]), float(exp.predictions[i, k]), labels[k]

    def _named(self, i: int, j: int) -> str:
        """The column with the row's value in it, where the data has the column."""
        exp = self._explanation
        width = exp.data.shape[1] if len(getattr(exp.data, "shape", ())) == 2 else 0
        column = exp.columns[j] if exp.columns is not None else j if width == len(exp.names) else -1
        if not 0 <= column < width:
            return label(exp.names[j])
        value = exp.data.iloc[i, column] if hasattr(exp.data, "iloc") else exp.data[i, column]
        try:
            value = f"{float(value):.4g}"
        except (TypeError, ValueError):
            value = label(str(value), 14)
        return f"{label(exp.names[j])} = {value}"


def _check_position(exp: Explanation, i: int) -> None:
    if not -len(exp) <= i < len(exp):
        raise ValueError(f"i={i}; the explanation has {len(exp)} rows, numbered from 0.")


def _output(exp: Explanation) -> str:
    return "prediction" if exp.outputs is None else exp.output


def _rest(n: int, share: float) -> str | None:
    return f"and {n} more ({100 * max(share, 0):.0f} %)" if n else None
