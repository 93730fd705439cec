"""Attributions of pictures: where in them, and which way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._canvas import DOWN, UP, label, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

    from ..explanation import Explanation

#: The darkest grey, so that colours are seen on it, and how much of it the strongest colour covers.
DARKEST, COVER = 0.5, 0.95
#: Most rows that are drawn when none are named.
MOST = 8


def images(
    explanations: Explanation | Mapping[str, Explanation],
    rows: Sequence[int] | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    output: Any = None,
    overlay: bool = True,
    path: Any = None,
) -> NDArray:
    """Draw attributions of pictures in a grid: a line for each strategy, a column for each row.

    Orange raises the output, blue lowers it. Each strategy has colours of its own size, from its largest value in the
    rows shown, since units differ.

    Parameters
    ----------
    explanations : Explanation, or dict from a name to an Explanation
        Of the same rows.
    rows : sequence of int, default=None
        Positions of the rows. None: the first eight.
    shape : tuple of int, default=None
        Shape of a row: ``(h, w)``, ``(h, w, c)`` or ``(c, h, w)``; the shorter of the outer axes is that of the
        channels, whose values are summed. None: as the network reads it. Of sequences ``(steps, features)``.
    output : label, default=None
        Which output, if all were explained. None: the largest.
    overlay : bool, default=True
        Draw colours on the rows in grey. False, and for rows that are no such numbers: colours alone.
    path : str or Path, default=None
        Where to write the picture.

    Returns
    -------
    ndarray of Axes of shape (n_strategies, n_rows)

    Raises
    ------
    ValueError
        For rows that are no pictures, or a shape of another size.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neural_network import MLPClassifier
    >>> import skexplain
    >>> X, y = load_digits(return_X_y=True)
    >>> net = MLPClassifier(tol=0.02, random_state=0).fit(X / 16, y)
    >>> found = {name: skexplain.explain(net, X[:3] / 16, attribution=name) for name in ("saliency", "deepshap")}
    >>> skexplain.plotting.images(found, shape=(8, 8)).shape
    (2, 3)
    """
    from ._accessors import ExplanationPlot

    named = dict(explanations) if isinstance(explanations, Mapping) else {"": explanations}
    if not named:
        raise ValueError("explanations is empty; pass an Explanation, or a dict from names to Explanations.")
    fewest = min(map(len, named.values()))
    rows = range(min(fewest, MOST)) if rows is None else list(rows)
    outside = [i for i in rows if not -fewest <= i < fewest]
    if outside or not len(rows):
        raise ValueError(f"rows={list(rows)!r}; the explanations have {fewest} rows, numbered from 0.")
    found = {
        name: [Picture(exp, i, *ExplanationPlot(exp)._one(i, output)[::3], shape) for i in rows]
        for name, exp in named.items()
    }
    signed = any(p.signed for line in found.values() for p in line)
    height, width = next(iter(found.values()))[0].map.shape
    cell = 1.45
    across, down = (cell * side / max(height, width) for side in (width, height))
    figure = new_figure((1.4 + across * len(rows), max(2.2, 0.5 + (down + 0.1) * len(named))), path)
    axes = figure.subplots(len(named), len(rows), squeeze=False)
    for line, pictures in zip(axes, found.values(), strict=True):
        largest = max(np.abs(p.map).max() for p in pictures)
        for ax, picture in zip(line, pictures, strict=True):
            picture.draw(ax, largest, signed, overlay)
    for ax, i, picture in zip(axes[0], rows, next(iter(found.values())), strict=True):
        ax.set_title(label(picture.title(i), 16), fontsize="medium")
    for ax, name in zip(axes[:, 0], found, strict=True):
        ax.set_ylabel(label(name))
    figure.colorbar(_scale(1.0, signed), ax=axes, label="share of the largest value", fraction=0.05, pad=0.02)
    save(figure, path)
    return axes


class Picture:
    """One row's values and numbers in the shape of a picture.

    Parameters
    ----------
    exp : Explanation
    i : int
        Position of the row.
    values : ndarray of shape (n_features,)
    target : label or None
    shape : tuple of int or None
    """

    def __init__(self, exp: Explanation, i: int, values: NDArray, target: Any, shape: Sequence[int] | None) -> None:
        shape = _checked(shape, exp)
        self.target = target
        self.map = _flattened(values, shape, np.sum)
        self.signed = bool(getattr(exp.strategy, "signed", True)) or bool((values < 0).any())
        row = np.asarray(exp.data[i] if not hasattr(exp.data, "iloc") else exp.data.iloc[i])
        numeric = row.size == math.prod(shape) and row.dtype.kind in "biuf"
        self.row = _flattened(row.astype(float), shape, np.mean) if numeric else None

    def title(self, i: int) -> str:
        return f"row {i}" if self.target is None else f"{self.target} (row {i})"

    def draw(self, ax: Axes, largest: float, signed: bool, overlay: bool) -> ScalarMappable:
        """Draw the picture, and give the scale of its colours."""
        scale = _scale(largest, signed)
        if overlay and self.row is not None:
            span = np.ptp(self.row) or 1.0
            grey = DARKEST + (1 - DARKEST) * ((self.row - self.row.min()) / span)[..., None]
            cover = COVER * (np.abs(self.map) / (largest or 1.0))[..., None]
            colour = np.where((self.map > 0)[..., None], _rgb(UP), _rgb(DOWN))
            ax.imshow((1 - cover) * grey + cover * colour)
        else:
            ax.imshow(scale.to_rgba(self.map))
        ax.set_xticks([])
        ax.set_yticks([])
        return scale


def _checked(shape: Sequence[int] | None, exp: Explanation) -> tuple[int, ...]:
    """Shape of a row with one value for each of its numbers."""
    n = exp.values.shape[1]
    if shape is None:
        shape = exp.row_shape or np.shape(exp.data)[1:]
    shape = tuple(shape)
    if math.prod(shape) != n:
        raise ValueError(
            f"A row of shape {shape} has {math.prod(shape)} numbers, but {n} values; explain without groups."
        )
    if len(shape) not in (2, 3):
        raise ValueError(
            f"Rows of shape {shape} are no pictures. Pass shape=, such as (8, 8) or (8, 8, 3), or use plot.row()."
        )
    return shape


def _flattened(numbers: NDArray, shape: tuple[int, ...], over: Any) -> NDArray:
    """Height and width, with the channels, if there are any, taken together."""
    numbers = numbers.reshape(shape)
    return numbers if numbers.ndim == 2 else over(numbers, axis=0 if shape[0] < shape[2] else 2)


def _scale(largest: float, signed: bool) -> ScalarMappable:
    """Blue for what lowers, orange for what raises, and white for 0."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    largest = largest or 1.0
    colours = LinearSegmentedColormap.from_list("attributions", [DOWN, "white", UP] if signed else ["white", UP])
    return ScalarMappable(Normalize(-largest if signed else 0, largest), colours)


def _rgb(colour: str) -> NDArray:
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour))
