"""Rankings side by side: how they agree, and what each column does between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ._canvas import DOWN, GREY, PALETTE, UP, check_display, labels, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours of lines, as for columns elsewhere: without black and yellow, which stand out and back.
COLOURS = PALETTE[:6]


class _Rankings(NamedTuple):
    """Shares ``(n, n_features)`` of the columns by several models or strategies."""

    of: list[str]
    names: list[str]
    shares: NDArray
    kendall: NDArray


def agreement(results: Any, ax: Axes | None = None, *, kind: str = "importances", path: Any = None) -> Axes:
    """Heat map of how far rankings of the columns agree: Kendall's tau, 1 for the same order, -1 for the reverse.

    Two strategies of a `MethodComparison` are framed where they disagree beyond their noise.

    Parameters
    ----------
    results : Comparison, MethodComparison, or dict from a name to Importances
        Of models or strategies, for the same columns.
    ax : Axes, default=None
        Where to draw. None: a new figure.
    kind : {"importances", "permutation"}, default="importances"
        Which importances of a `Comparison`.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        For fewer than two rankings, or rankings of different columns.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> net = MLPClassifier(max_iter=2000, random_state=0).fit(X, y)
    >>> found = {name: skexplain.importances(net, X, y, attribution=name) for name in ("deepshap", "permutation")}
    >>> ax = skexplain.plotting.agreement(found)
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['deepshap', 'permutation']
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    r = _rankings(results, kind)
    n = len(r.of)
    texts = labels(r.of)
    room = 0.09 * max(map(len, texts))  # of a label, in inches
    upright = max(map(len, texts)) <= 8 and n <= 8
    if ax is None:
        cell = 0.62 if n <= 8 else 0.46
        size = (1.4 + room + cell * n, 0.9 + (0.2 if upright else room) + 0.7 * cell * n)
        ax = new_figure((max(size[0], 3.2), max(size[1], 2.0)), path).add_subplot()
    colours = LinearSegmentedColormap.from_list("agreement", [DOWN, "white", UP]).with_extremes(bad="#EEEEEE")
    drawn = ax.imshow(r.kendall, cmap=colours, vmin=-1, vmax=1, aspect="auto")
    for i, j in np.ndindex(n, n):
        tau = r.kendall[i, j]
        if not np.isnan(tau):
            ink = "white" if abs(tau) > 0.75 else "black"
            ax.text(j, i, f"{tau:.2f}", ha="center", va="center", fontsize="small" if n < 9 else "x-small", color=ink)
    ax.set_xticks(range(n), texts, rotation=0 if upright else 90)
    ax.set_yticks(range(n), texts)
    ax.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(drawn, ax=ax, ticks=[-1, 0, 1], aspect=30)
    bar.set_label("Kendall's tau")
    bar.outline.set_visible(False)  # type: ignore[operator]
    title = f"Order of {len(r.names)} columns"
    place = {name: k for k, name in enumerate(r.of)}
    beyond = [(place[a.first], place[a.second]) for a in getattr(results, "agreements", ()) if a.reversed]
    for i, j in [*beyond, *(pair[::-1] for pair in beyond)]:
        ax.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor="black", linewidth=1.2))
    ax.set_title(title + ", framed: beyond noise" * bool(beyond), fontsize="medium", loc="left")
    save(ax.figure, path)
    return ax


def slope(
    results: Any, ax: Axes | None = None, *, kind: str = "importances", max_display: int = 12, path: Any = None
) -> Axes:
    """A line for each column through its ranks by several models or strategies.

    Choose it to see which columns change places: lines that cross are columns on whose order models do not agree.
    Ranks are among all columns, 1 the most important; shown are those with the largest mean share, and ranks beyond
    their number lie on the last line.

    Parameters
    ----------
    results, kind
        As in `agreement`; models without importances of their own are left out.
    ax : Axes, default=None
        Where to draw. None: a new figure.
    max_display : int, default=12
        Columns shown; the first six have a colour.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        As in `agreement`.
    """
    check_display(max_display)
    r = _rankings(results, kind)
    shown = np.argsort(-r.shares.mean(axis=0), kind="stable")[:max_display]
    ranks = np.array([stats.rankdata(-row, method="ordinal") for row in r.shares])[:, shown]
    last = len(shown) + 1 if (ranks > len(shown)).any() else len(shown)
    y = np.minimum(ranks, last)
    m = len(r.of)
    if ax is None:
        ax = new_figure((4.4 + 1.5 * m, 1.2 + 0.3 * last), path).add_subplot()
    x = np.arange(m)
    for k in range(len(shown))[::-1]:
        colour = COLOURS[k] if k < len(COLOURS) else "#ABABAB"
        width = 2.4 if k < len(COLOURS) else 1.2
        ax.plot(x, y[:, k], color=colour, linewidth=width, marker="o", markersize=5, zorder=3 - k / len(shown))
    names = labels([r.names[j] for j in shown])
    for end, side, pad in ((0, "right", -8), (m - 1, "left", 8)):
        places: dict[int, list[str]] = {}
        for k, name in enumerate(names):
            beyond = ranks[end, k] > len(shown)
            places.setdefault(int(y[end, k]), []).append(f"{name} ({ranks[end, k]})" if beyond else name)
        for rank, here in places.items():
            several = here[0] if len(here) == 1 else f"{len(here)} columns below"
            ax.annotate(
                several,
                (end, rank),
                xytext=(pad, 0),
                textcoords="offset points",
                ha=side,
                va="center",
                color="#333333" if len(here) == 1 else GREY,
                annotation_clip=False,
            )
    ax.set_xlim(-0.1, m - 0.9)
    ax.set_ylim(last + 0.5, 0.4)
    ax.set_xticks(x, labels(r.of), rotation=30 if m > 4 else 0)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_yticks([])
    for at in range(m):
        ax.axvline(at, color="#DDDDDD", linewidth=0.8, zorder=0)
    ax.spines[:].set_visible(False)
    left_out = len(r.names) - len(shown)
    what = "permutation importance" if kind == "permutation" else "importance"
    ax.set_title(
        f"Rank by {what}" + (f", {len(shown)} of {len(r.names)} columns" if left_out else ""),
        fontsize="medium",
        loc="left",
    )
    save(ax.figure, path)
    return ax


def _rankings(results: Any, kind: str) -> _Rankings:
    """Shares from whatever has them."""
    if isinstance(results, Mapping):
        of, found = list(map(str, results)), list(results.values())
        names = list(found[0].names) if found else []
        for name, one in zip(of, found, strict=True):
            if list(one.names) != names:
                raise ValueError(f"{name!r} has other columns than {of[0]!r}; pass importances of the same columns.")
        shares = np.array([one.normalized for one in found])
    elif hasattr(results, "methods"):
        of, names, shares = list(results.methods), list(results.names), results.shares
    elif hasattr(results, "models"):
        mean = results.mean(kind)
        mine = ~np.isnan(mean).any(axis=1)
        of = [m for m, own in zip(results.models, mine, strict=True) if own]
        names, shares = list(results.names), mean[mine]
    else:
        raise TypeError(
            f"results={results!r}; pass a Comparison, a MethodComparison, or a dict from names to Importances."
        )
    if len(of) < 2:
        raise ValueError(f"There are {len(of)} rankings; at least two are needed to set them side by side.")
    tau = results.kendall if hasattr(results, "kendall") else _kendall(shares)
    return _Rankings(of, names, shares, tau)


def _kendall(shares: NDArray) -> NDArray:
    """Kendall's tau of every pair; NaN where one order is all ties."""
    n = len(shares)
    tau = np.eye(n)
    for i, j in np.ndindex(n, n):
        if i < j:
            constant = np.ptp(shares[i]) == 0 or np.ptp(shares[j]) == 0
            found = np.nan if constant else stats.kendalltau(shares[i], shares[j], method="asymptotic").statistic
            tau[i, j] = tau[j, i] = found
    return tau
