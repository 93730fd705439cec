"""``importances.plot`` and ``explanation.plot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._canvas import (
    DOWN,
    GREY,
    UP,
    check_display,
    finish_rows,
    label,
    labels,
    new_figure,
    one_axes,
    ranked_bars,
    save,
)
from ._image import Picture
from ._rows import beeswarm, columns_of, dependence, force

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def bar(
        self,
        ax: Axes | None = None,
        *,
        max_display: int = 20,
        probe: str | Sequence[str] | None = None,
        path: Any = None,
    ) -> Axes:
        """Ranked horizontal bars with standard errors.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw. None: a new figure.
        max_display : int, default=20
            Bars; a last line says how many columns are left out, and what share of the total they have.
        probe : str or sequence of str, default=None
            Columns of random numbers that were added to the data before the training. A dotted line stands at what the
            largest of them got for nothing; columns that do not pass it are not shown to matter. There is no such line
            without these columns: what training makes of noise is seen in no network that was trained without.
        path : str or Path, default=None
            Where to write the picture.

        Returns
        -------
        Axes

        Raises
        ------
        ValueError
            For a ``probe`` that is no column, or more bars than can be read.
        """
        check_display(max_display)
        imp = self._importances
        probes = [] if probe is None else _checked_probe(probe, imp.names)
        shown = imp.ranking[:max_display]
        rest = _rest(len(imp) - len(shown), 1 - imp.normalized[shown].sum())
        ax = one_axes(ax, path, len(shown) + bool(rest))
        names = [imp.names[j] for j in shown]
        local = getattr(imp.strategy, "local", True)
        scoring = getattr(imp.strategy, "scoring", None) or "loss"
        what = {"predicted": "the predicted class", "all": "all outputs"}.get(imp.target, imp.target)
        # only classifiers have classes
        unit = f"mean |attribution|, {f'{imp.output} of {what}' if imp.per_class else 'prediction'}"
        own = isinstance(imp.strategy, str)
        if own:  # of an estimator that is no network
            unit = f"share by {imp.strategy}"
        elif getattr(imp.strategy, "needs_training", False):
            unit = "size of what the weights did during training"
        elif not local:
            unit = "rise of the loss" if scoring == "loss" else f"fall of {scoring}"
        # a loss of score is shown as measured: bars below 0 are noise, and their size says how much there is
        values = imp.values if local else imp.signed
        ranked_bars(ax, names, values[shown], imp.error[shown], rest=rest, unit=unit)
        if probes:
            _draw_probe(ax, imp.names, values, probes, shown)
        by = imp.strategy if own else type(imp.strategy).__name__
        ax.set_title(f"{by}, {imp.n_rows} rows", fontsize="medium", loc="left")
        save(ax.figure, path)
        return ax


def _checked_probe(probe: str | Sequence[str], names: Sequence[str]) -> list[str]:
    probes = [probe] if isinstance(probe, str) else list(probe)
    missing = [name for name in probes if name not in names]
    if missing or not probes:
        raise ValueError(
            f"probe={missing[0] if missing else probes!r} is none of the {len(names)} columns; add a column of random "
            "numbers to the data, train again, and pass its name."
        )
    return probes


def _draw_probe(ax: Axes, names: Sequence[str], values: NDArray, probe: list[str], shown: NDArray) -> None:
    """A line at the largest of the random columns, whose bars are grey."""
    at = max(value for name, value in zip(names, values, strict=True) if name in probe)
    ax.axvline(at, color="#333333", linewidth=1.2, linestyle=(0, (2, 2)))
    for bar, j in zip(ax.patches, shown, strict=False):
        if names[j] in probe:
            bar.set_facecolor(GREY)
    ax.annotate(
        "random column" if len(probe) == 1 else f"largest of {len(probe)} random columns",
        (at, 0),
        xycoords=("data", "axes fraction"),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
    )


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
        """How one row gets from the base value to its prediction: a waterfall.

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
        texts = self._named(i, shown) + ([f"and {len(hidden)} more"] if len(hidden) else [])
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

    def force(
        self, i: int, ax: Axes | None = None, *, output: Any = None, max_display: int = 6, path: Any = None
    ) -> Axes:
        """One row as a strip: what raises the output, in orange, meets what lowers it, in blue, at the prediction.

        Choose it where room is short, or to see at once how even the balance is; `row` is easier to read off.

        Parameters
        ----------
        i, output
            As in `row`.
        max_display : int, default=6
            Columns named on either side; the others share a grey piece.
        ax, path
            As in `ImportancesPlot.bar`.

        Returns
        -------
        Axes

        Raises
        ------
        ValueError
            For a strategy whose values do not lead from a base value to the prediction.
        """
        exp = self._explanation
        _check_position(exp, i)
        values, base, prediction, target = self._one(i, output)
        if not np.isfinite(base):
            raise ValueError(
                f"{exp.strategy} has no base value, so its values do not add up to the prediction; use `row`, or a "
                "strategy that is complete, such as 'expected_gradients'."
            )
        what = _output(exp) if target is None else f"{_output(exp)} of {target}"
        texts = self._named(i, np.arange(len(values)))
        return force(texts, values, base, prediction, f"Row {i}: {what}", what, ax, max_display, path)

    def beeswarm(self, ax: Axes | None = None, *, output: Any = None, max_display: int = 20, path: Any = None) -> Axes:
        """A dot for each row and column, at its attribution: how far, which way, and for which values.

        Dots to the right raise the output. Light dots have high values of the column, by rank; grey ones have no
        order, such as words. Of more than 2000 rows, 2000 at equal distances are drawn.

        Parameters
        ----------
        output : label, default=None
            Which output, if all were explained; needed then.
        max_display : int, default=20
            Columns, those with the largest mean size first.
        ax, path
            As in `ImportancesPlot.bar`.

        Returns
        -------
        Axes
        """
        values, what = self._over_rows(output)
        return beeswarm(self._explanation, values, what, ax, max_display, path)

    def dependence(
        self, column: str | int, ax: Axes | None = None, *, color_by: Any = None, output: Any = None, path: Any = None
    ) -> Axes:
        """Attribution of a column against its value: a dot for each row.

        Choose it to see the shape of what a network does with a column. Where dots of one value lie at several heights,
        other columns have a say; ``color_by`` shows whether one of them is the reason.

        Parameters
        ----------
        column : str or int
            Name or position.
        color_by : str or int, default=None
            Column by whose values, by rank, dots are coloured.
        output : label, default=None
            Which output, if all were explained; needed then.
        ax, path
            As in `ImportancesPlot.bar`.

        Returns
        -------
        Axes

        Raises
        ------
        ValueError
            For a column that does not exist, is a group, or has more than 20 values that are no numbers.
        """
        values, what = self._over_rows(output)
        return dependence(self._explanation, values, what, column, color_by, ax, path)

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

    def _over_rows(self, output: Any) -> tuple[NDArray, str]:
        """Values ``(n, n_features)`` of one output of each row, and what it is called."""
        exp = self._explanation
        if not len(exp):
            raise ValueError("The explanation has no rows, so there is nothing to draw.")
        if exp.values.ndim == 2:
            self._one(0, output)  # refuses an output
            kinds: Any = () if exp.target is None or exp.outputs is None else np.unique(exp.target)
            of = f" of {kinds[0]}" if len(kinds) == 1 else " of the class explained" if len(kinds) else ""
            return exp.values, _output(exp) + of
        if output is None:
            outputs = list(range(exp.values.shape[2])) if exp.outputs is None else np.asarray(exp.outputs).tolist()
            raise ValueError(f"All outputs were explained; pass output=, one of {outputs}.")
        _, _, _, target = self._one(0, output)
        k = output if exp.outputs is None else list(exp.outputs).index(output)
        return exp.values[:, :, k], f"{_output(exp)} of {target}"

    def _named(self, i: int, columns: NDArray) -> list[str]:
        """Columns with the row's values in them, where the data has the columns."""
        exp = self._explanation
        data = columns_of(exp)
        texts = labels([exp.names[j] for j in columns])
        for k, j in enumerate(columns):
            if data is not None and data[j] is not None:
                try:
                    value = f"{float(data[j][i]):.4g}"
                except (TypeError, ValueError):
                    value = label(str(data[j][i]), 14)
                texts[k] = f"{texts[k]} = {value}"
        return texts


def _check_position(exp: Explanation, i: int) -> None:
    if not -len(exp) <= i < len(exp):
        raise ValueError(f"i={i}; the explanation has {len(exp)} rows, numbered from 0.")


def _output(exp: Explanation) -> str:
    return "prediction" if exp.outputs is None else exp.output


def _rest(n: int, share: float) -> str | None:
    return f"and {n} more ({100 * max(share, 0):.0f} %)" if n else None
