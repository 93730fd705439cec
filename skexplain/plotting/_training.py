"""What happened while a network trained: its weights on the input columns, and the importances of the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde
from sklearn.isotonic import isotonic_regression

from ._canvas import GREY, PALETTE, check_display, finish_rows, labels, one_axes, save

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

    from ..training import ImportanceHistory, WeightHistory

#: Colours of columns: the palette without black and yellow, which stand out and back. Columns beyond them are grey.
COLOURS = PALETTE[:6]
OTHERS = "#ABABAB"
#: Lines of columns that share a colour, where more are asked for than there are colours.
LINES = ("-", "--", ":", "-.")
#: Rows' worth of height for a picture with a y axis.
HEIGHT = 12
#: Points in time that a scatter shows, points of a density curve, and the weights that it is estimated from.
MOMENTS, CURVE, ESTIMATED_FROM = 15, 400, 2000
FRAMES_A_SECOND, FILM_DPI = 10, 120


def weight_animation(
    history: WeightHistory,
    ax: Axes | None = None,
    *,
    max_display: int = 10,
    max_frames: int = 60,
    path: Any = None,
) -> FuncAnimation:
    """Bars of all weights on each column, moving as they moved in training.

    Choose it to see how a first layer settles: weights that go on moving, columns that are given up, units that do
    nothing. Each column has a row, and in it one bar for each hidden unit, in the same order in all rows.

    Parameters
    ----------
    history : skexplain.training.WeightHistory
    ax : Axes, default=None
        Where to draw. None: a new figure.
    max_display : int, default=10
        Columns shown, those whose weights moved most first; a last line says how many are left out. The first six
        have a colour, the same in all pictures of a history.
    max_frames : int, default=60
        Most samples shown, evenly spaced, the first and the last among them. Ten are shown a second.
    path : str or Path, default=None
        Where to write the animation: a name that ends in ``.gif``, or in ``.html`` for a page with buttons and a
        slider, which needs nothing but a browser.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it as long as it is to move; ``to_jshtml()`` shows it in a notebook.

    Raises
    ------
    ValueError
        When the history has no samples, or ``path`` has another ending.

    See Also
    --------
    weight_boxes : the same weights without time.
    """
    if max_frames < 1:
        raise ValueError(f"max_frames={max_frames} must be at least 1.")
    ending = None if path is None else Path(path).suffix.lower()
    if ending not in (None, ".gif", ".html"):
        raise ValueError(f"path={str(path)!r} must end in '.gif' or '.html', the formats of animations.")
    weights, times, columns = _columns(history, max_display)
    shown, n_units = columns.shown, weights.shape[2]
    moments = np.unique(np.linspace(len(times) - 1, 0, min(len(times), max_frames)).round().astype(int))
    bars = np.nan_to_num(weights[moments][:, shown].astype(float)).reshape(len(moments), -1)
    ax = one_axes(ax, path, max(HEIGHT, 2 * len(columns.rows)))
    from matplotlib.animation import FuncAnimation
    from matplotlib.collections import PolyCollection

    width = 0.8 / n_units
    top = (np.arange(len(shown))[:, None] - 0.4 + width * np.arange(n_units)).ravel()
    bottom = top + width * (0.85 if n_units <= 12 else 1)  # thin bars with gaps would be stripes
    colours = np.repeat([columns.colour(j) for j in shown], n_units).tolist()
    drawn = PolyCollection([], facecolors=colours, snap=False)  # a thin bar is pale, it does not vanish
    ax.add_collection(drawn, autolim=False)
    finish_rows(ax, columns.rows, columns.rest)
    low, high = min(bars.min(), 0), max(bars.max(), 0)
    margin = 0.03 * (high - low) or 1
    ax.set_xlim(low - margin, high + margin)
    ax.set_xlabel("weight" if n_units == 1 else f"each of the {n_units} weights on a column")
    title = ax.set_title("", fontsize="medium", loc="left")

    def draw(frame: int) -> list[Any]:
        ends = bars[frame]
        zero = np.zeros_like(ends)
        x = np.stack([zero, ends, ends, zero], axis=1)
        y = np.stack([top, top, bottom, bottom], axis=1)
        drawn.set_verts(np.stack([x, y], axis=2))  # type: ignore[arg-type]
        time = times[moments[frame]]
        title.set_text(f"Weights after {history.per} {time}" if time else "Initial weights")
        return [drawn, title]

    draw(0)
    # a GIF goes round and round: the last frame stays for a second
    hold = FRAMES_A_SECOND if ending == ".gif" else 0
    frames = [*range(len(moments)), *[len(moments) - 1] * hold]
    figure: Any = ax.figure
    film = FuncAnimation(figure, draw, frames=frames, interval=1000 / FRAMES_A_SECOND)
    if path is not None:
        save(_Film(film, figure, ending), path)
    return film


def weight_boxes(history: WeightHistory, ax: Axes | None = None, *, max_display: int = 20, path: Any = None) -> Axes:
    """Box plot of each column: where its weights were, over all units and the whole training.

    The box holds the middle half of the weights, with a line at their median; whiskers reach from 5 to 95 %, dots are
    the smallest and the largest.

    Parameters
    ----------
    history : skexplain.training.WeightHistory
    ax : Axes, default=None
        Where to draw. None: a new figure.
    max_display : int, default=20
        Columns shown, those whose weights moved most first; a last line says how many are left out. The first six
        have a colour, the same in all pictures of a history.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        When the history has no samples.

    See Also
    --------
    weight_density : the same as curves.
    """
    weights, times, columns = _columns(history, max_display)
    ax = one_axes(ax, path, len(columns.rows) + bool(columns.rest))
    for y, j in enumerate(columns.shown):
        values, colour = _weights_on(weights, j), columns.colour(j)
        least, low, start, middle, end, high, most = np.percentile(values, [0, 5, 25, 50, 75, 95, 100])
        ax.hlines(y, low, high, color=colour, linewidth=1.5)
        # white below, so that the whisker does not show through
        ax.barh(y, end - start, left=start, height=0.62, facecolor="white", edgecolor=colour, linewidth=1.5)
        ax.barh(y, end - start, left=start, height=0.62, facecolor=colour, alpha=0.35)
        ax.vlines(middle, y - 0.31, y + 0.31, color=colour, linewidth=3)
        ax.plot([least, most], [y, y], linestyle="", marker="o", markersize=2.5, color=colour)
    finish_rows(ax, columns.rows, columns.rest)
    ax.use_sticky_edges = False
    ax.margins(x=0.04)
    ax.set_xlabel("weight")
    ax.set_title(f"Weights, {_over(history, times)}", fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


def weight_deviation(
    history: WeightHistory, ax: Axes | None = None, *, max_display: int = 20, path: Any = None
) -> Axes:
    """Bars of how much each column's weights moved: their standard deviations over the training, summed over units.

    It is what the strategy ``weight_std`` ranks by. Weights of columns that are not on one scale cannot be compared.

    Parameters, returned value and errors are those of `weight_boxes`.
    """
    _, times, columns = _columns(history, max_display)
    ax = one_axes(ax, path, len(columns.rows) + bool(columns.rest))
    shown = columns.shown
    ax.barh(range(len(shown)), columns.score[shown], height=0.7, color=[columns.colour(j) for j in shown])
    finish_rows(ax, columns.rows, columns.rest)
    ax.set_xlim(0, 1.05 * columns.score.max() or 1)
    ax.set_xlabel("sum of standard deviations")
    what = "Deviation of weights" if columns.score.any() else "No weight moved"
    ax.set_title(f"{what}, {_over(history, times)}", fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


def weight_density(history: WeightHistory, ax: Axes | None = None, *, max_display: int = 20, path: Any = None) -> Axes:
    """Density curve of each column: how often its weights had which value, over all units and the whole training.

    Each curve has a row, and is as high as the row; how high its peak is stands at its end. A narrow curve has a high
    peak: the weights stay together. Weights that never differ have no curve, and are drawn as a line.

    Parameters, returned value and errors are those of `weight_boxes`.

    Notes
    -----
    Gaussian kernels of the width that Scott's rule gives. A column with many weights is represented by 2000 of its
    quantiles.
    """
    weights, times, columns = _columns(history, max_display)
    ax = one_axes(ax, path, 3 * (len(columns.rows) + bool(columns.rest)) // 2)
    peaks = []
    for y, j in enumerate(columns.shown):
        values, colour = _weights_on(weights, j).ravel(), columns.colour(j)
        if np.ptp(values) <= 1e-6 * np.abs(values).max():
            ax.vlines(values[0], y + 0.4, y - 0.45, color=colour, linewidth=2)
            peaks.append("constant")
            continue
        x, density = _density(values)
        curve = y + 0.4 - 0.85 * density / density.max()
        ax.fill_between(x, curve, y + 0.4, color=colour, alpha=0.35, linewidth=0)
        ax.plot(x, curve, color=colour, linewidth=1.5)
        peaks.append(f"{density.max():.3g}")
    finish_rows(ax, columns.rows, columns.rest)
    beside: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "color": GREY, "fontsize": "small"}
    for y, peak in enumerate(peaks):
        ax.annotate(peak, (1, y), xycoords=("axes fraction", "data"), va="center", **beside)
    ax.annotate("peak", (1, 1), xycoords="axes fraction", va="bottom", **beside)
    ax.set_xlabel("weight")
    ax.set_title(f"Density of weights, {_over(history, times)}", fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


def weight_scatter(history: WeightHistory, ax: Axes | None = None, *, max_display: int = 6, path: Any = None) -> Axes:
    """Size of every weight by epoch, coloured by column, with a line through each column's mean.

    Parameters
    ----------
    history : skexplain.training.WeightHistory
    ax : Axes, default=None
        Where to draw; names stand to the right of it. None: a new figure.
    max_display : int, default=6
        Columns with a colour and a name, those whose weights moved most; the others are grey.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        When the history has no samples.

    Notes
    -----
    At most 15 samples are shown, evenly spaced. Columns stand side by side within a sample.
    """
    weights, times, columns = _columns(history, max_display)
    ax = one_axes(ax, path, max(HEIGHT, len(columns.rows)))
    moments = slice(None, None, -(-len(times) // MOMENTS))
    t = times[moments]
    gap = np.diff(t).min(initial=t[-1] - t[0] or 1)
    lanes = np.linspace(-0.35, 0.35, len(columns.shown)) if len(columns.shown) > 1 else [0.0]
    # the grey ones first, below and in one lane; then those with a colour, each in its own
    drawn = [(j, 0.0, OTHERS, 0.3) for j in columns.hidden]
    drawn += [(j, lane, columns.line(j)["color"], 0.45) for j, lane in zip(columns.shown, lanes, strict=True)]
    means = {}
    for j, lane, colour, alpha in drawn:
        sizes = np.abs(_weights_on(weights, j))
        means[j] = sizes.mean(axis=1)
        x = np.repeat(t + lane * gap, sizes.shape[1])
        look = {"linestyle": "", "marker": "o", "markersize": 3, "markeredgewidth": 0, "rasterized": True}
        ax.plot(x, sizes[moments].ravel(), color=colour, alpha=alpha, **look)  # type: ignore[arg-type]
    _lines(ax, times, means, columns, columns.rows, columns.rest)
    ax.set_xlabel(history.per)
    ax.set_ylabel("|weight|, and the mean of a column")
    ax.set_title(f"Size of weights, {_over(history, times)}", fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


def importance_history(
    history: ImportanceHistory, ax: Axes | None = None, *, max_display: int = 6, path: Any = None
) -> Axes:
    """Lines of each column's share of the importance, by epoch: when it is learned, and when it is forgotten.

    Parameters
    ----------
    history : skexplain.training.ImportanceHistory
    ax : Axes, default=None
        Where to draw; names stand to the right of it. None: a new figure.
    max_display : int, default=6
        Columns with a colour and a name, those with the largest share at any time; the others are grey. Names come
        with the share at the end.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        When the history has no samples.
    """
    values, epochs = np.asarray(history.values), np.asarray(history.epochs)
    _check_samples(values)
    columns = _Columns(history.names, values.max(axis=0), max_display)
    ax = one_axes(ax, path, max(HEIGHT, len(columns.rows)))
    texts = [f"{name}  {100 * values[-1, j]:.0f} %" for name, j in zip(columns.rows, columns.shown, strict=True)]
    rest = f"{columns.rest}  {100 * values[-1, columns.hidden].sum():.0f} %" if columns.rest else None
    _lines(ax, epochs, dict(enumerate(values.T)), columns, texts, rest)
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    ax.set_xlabel("epoch")
    ax.set_ylabel("share of the importance")
    ax.set_title(f"Importance by {_strategy(history.strategy)}", fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


class _Columns:
    """Which columns a picture shows, in which order and colour.

    Where each column can have a colour of its own, it has the one of its position, so that pictures of one data set
    agree; where there are more, the first in order have.
    """

    def __init__(self, names: Sequence[str] | None, score: NDArray, max_display: int) -> None:
        check_display(max_display)
        self.score = score
        n = len(score)
        order = np.argsort(-score, kind="stable")
        self._place = np.arange(n)
        if n > len(COLOURS):
            self._place[order] = np.arange(n)
        self.shown, self.hidden = order[:max_display], order[max_display:]
        names = [f"column {j}" for j in range(n)] if names is None else list(names)
        self.rows = labels([names[j] for j in self.shown])
        self.rest = f"and {len(self.hidden)} more" if len(self.hidden) else None

    def place(self, j: int) -> int:
        return int(self._place[j])

    def colour(self, j: int) -> str:
        """For rows: grey beyond the colours."""
        return COLOURS[self.place(j)] if self.place(j) < len(COLOURS) else OTHERS

    def line(self, j: int) -> dict[str, Any]:
        """For lines: colours come again, dashed."""
        again, k = divmod(self.place(j), len(COLOURS))
        return {"color": COLOURS[k], "linestyle": LINES[again % len(LINES)]}


def _columns(history: WeightHistory, max_display: int) -> tuple[NDArray, NDArray, _Columns]:
    """Weights, their times, and the columns by how much their weights moved."""
    weights = history.weights
    _check_samples(weights)
    moved = []
    for j in range(weights.shape[1]):
        # from the first sample on: what never changes deviates by 0, and not by rounding errors
        changes = weights[:, j].astype(np.float64) - weights[0, j]
        moved.append(np.nansum(changes.std(axis=0)))
    return weights, np.asarray(history.times), _Columns(history.names, np.array(moved), max_display)


def _check_samples(values: NDArray) -> None:
    if not len(values):
        raise ValueError("The history has no samples; pass it in callbacks= to a training first.")


def _weights_on(weights: NDArray, j: int) -> NDArray:
    """Weights of a column, ``(n_samples, n_weights)``, without the NaN that make columns equally long."""
    values = np.asarray(weights[:, j], dtype=float)
    return values[:, np.isfinite(values[0])]


def _over(history: WeightHistory, times: NDArray) -> str:
    if len(times) == 1:
        return f"{history.per} {times[0]}"
    return f"{history.per}s {times[0]} to {times[-1]}"


def _strategy(strategy: Any) -> str:
    return strategy if isinstance(strategy, str) else type(strategy).__name__


def _density(values: NDArray) -> tuple[NDArray, NDArray]:
    """Points and their density."""
    scott = len(values) ** -0.2  # of all values, also where quantiles stand for them
    width = scott * values.std(ddof=1)
    x = np.linspace(values.min() - 3 * width, values.max() + 3 * width, CURVE)
    if len(values) > ESTIMATED_FROM:
        values = np.quantile(values, (np.arange(ESTIMATED_FROM) + 0.5) / ESTIMATED_FROM)
    return x, gaussian_kde(values, bw_method=scott)(x)


def _lines(
    ax: Axes, times: NDArray, values: dict[int, NDArray], columns: _Columns, texts: Sequence[str], rest: str | None
) -> None:
    """A line a column, the hidden ones grey and below, with names at their ends, and the look of the panel."""
    from matplotlib.patheffects import withStroke

    marker = "o" if len(times) == 1 else None
    halo = [withStroke(linewidth=4, foreground="white")]  # lines stand out from dots
    for j in columns.hidden:
        ax.plot(times, values[j], color=OTHERS, linewidth=0.8, marker=marker)
    for j in columns.shown[::-1]:  # the first on top
        ax.plot(times, values[j], linewidth=2, marker=marker, path_effects=halo, **columns.line(j))
    ax.set_ylim(bottom=0)
    ax.margins(x=0.02)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    if len(times) == 1:
        ax.set_xlim(times[0] - 1, times[0] + 1)
        ax.set_xticks(times)
    else:
        ticker: Any = ax.xaxis.get_major_locator()
        ticker.set_params(integer=True)
    ends = [values[j][-1] for j in columns.shown]
    colours = [columns.line(j)["color"] for j in columns.shown]
    if rest:
        ends.append(np.mean([values[j][-1] for j in columns.hidden]))
        colours.append(GREY)
    _name_ends(ax, times[-1], ends, [*texts, *([rest] if rest else [])], colours)


def _name_ends(ax: Axes, x: float, ends: Sequence[float], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Texts to the right of the panel, as near to the ends of their lines as they can be without overlap."""
    from matplotlib.transforms import offset_copy

    figure: Any = ax.figure.canvas.figure  # type: ignore[union-attr]
    figure.draw_without_rendering()  # the layout says how high the panel is
    size = 9
    gap = 1.3 * size / (ax.get_window_extent().height * 72 / figure.dpi)
    at = ax.transAxes.inverted().transform(ax.transData.transform([(x, end) for end in ends]))[:, 1]
    order = np.argsort(at, kind="stable")
    # least squares: distances of at least `gap` are an order of what is left when the gaps are taken out
    steps = gap * np.arange(len(at))
    room = sorted((0.0, 1 - steps[-1]))  # more texts than the panel is high stick out
    at[order] = np.clip(isotonic_regression(at[order] - steps), *room) + steps
    beside = offset_copy(ax.transAxes, figure, x=20, units="points")
    for k, y in enumerate(at):
        ax.annotate(
            texts[k],
            (x, ends[k]),
            xytext=(1, y),
            textcoords=beside,
            va="center",
            fontsize=size,
            color="#333333",  # some colours are too light for text
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[k],
                "linewidth": 1.5,
                "relpos": (0, 0.5),
                "shrinkA": 3,
                "shrinkB": 0,
            },
        )


#: Buttons of matplotlib's player, which otherwise come as a font from the net.
BUTTONS = {
    "minus": "\u2212",
    "fast-backward": "|<",
    "step-backward": "<",
    "play.fa-flip-horizontal": "\u25c0",
    "pause": "||",
    "play": "\u25b6",
    "step-forward": ">",
    "fast-forward": ">|",
    "plus": "+",
}


class _Film:
    """An animation, to be written as figures are."""

    def __init__(self, film: FuncAnimation, figure: Any, ending: str | None) -> None:
        self._film, self._figure, self._ending = film, figure, ending

    def savefig(self, path: str, dpi: float) -> None:
        figure = self._figure
        layout = figure.get_layout_engine()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # as it is: the panel does not move from frame to frame
        try:
            if self._ending == ".gif":
                self._write_gif(path)
            else:
                self._write_page(path)
        finally:
            figure.set_layout_engine(layout)

    def _write_gif(self, path: str) -> None:
        from matplotlib.animation import PillowWriter

        self._film.save(path, writer=PillowWriter(fps=FRAMES_A_SECOND), dpi=FILM_DPI)

    def _write_page(self, path: str) -> None:
        import matplotlib as mpl

        # frames above the limit would be left out
        with mpl.rc_context({"animation.embed_limit": 2**20, "savefig.dpi": FILM_DPI}):
            player = self._film.to_jshtml(fps=FRAMES_A_SECOND, default_mode="once")
        player = re.sub(r"<link[^>]*>", "", player)
        style = "".join(f'.fa-{name}::before{{content:"{text}";font-style:normal}}' for name, text in BUTTONS.items())
        Path(path).write_text(
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Weights</title>'
            f"<style>{style}.animation img{{max-width:100%}}</style></head><body>{player}</body></html>",
            encoding="utf-8",
        )
