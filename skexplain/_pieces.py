"""Piecewise-linear encoding: what a column's value is, and how much of each stretch of its range lies below it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._defaults import BINS, PIECE, VALUE


class Pieces(NamedTuple):
    """Numbers ``clip((x[owners] - shift) / scale, low, high)`` that stand for a row x of numbers.

    For each column twice its standardised value, and then one piece for each stretch between neighbouring edges, which
    grows from -1/4 at the lower to 1/4 at the upper edge and is constant outside (Gorishniy, Rubachev and Babenko, "On
    embeddings for numerical features in tabular deep learning", NeurIPS 2022, where pieces are between 0 and 1). What
    is not to be encoded is passed on.

    Attributes
    ----------
    owners : int ndarray of shape (p,)
        The number of the row that each comes from.
    shift, scale, low, high : ndarray of shape (p,)
    """

    owners: NDArray
    shift: NDArray
    scale: NDArray
    low: NDArray
    high: NDArray

    def __call__(self, X: NDArray) -> NDArray:
        """Encoded rows ``(n, p)`` of rows ``(n, k)``."""
        return np.clip((X[:, self.owners] - self.shift) / self.scale, self.low, self.high)


def quantiles(X: NDArray, weight: NDArray | None = None, bins: int = BINS) -> NDArray:
    """Values below which equal shares of the rows lie, ``(bins + 1, n_columns)``; all of them are values of X.

    A row of weight 2 counts as two.
    """
    w = None if weight is None else np.asarray(weight, dtype=np.float64)
    at = np.linspace(0, 1, bins + 1)
    return np.quantile(np.asarray(X, dtype=np.float64), at, axis=0, method="inverted_cdf", weights=w)


def piecewise(mean: ArrayLike, scale: ArrayLike, edges: ArrayLike | None, n_more: int = 0) -> Pieces:
    """The encoding of columns of numbers.

    Parameters
    ----------
    mean, scale : array-like of shape (n_columns,)
        Of the values.
    edges : array-like of shape (n_edges, n_columns), or None
        Rising; between two that are equal there is nothing, and the piece is always 0. None: values only.
    n_more : int, default=0
        Numbers after those of the columns, such as the vectors of codes, that are passed on.
    """
    mean, scale = (np.asarray(v, dtype=np.float64) for v in (mean, scale))
    k, infinite = len(mean), np.full((1, len(mean)), np.inf)
    steps = np.empty((0, k)) if edges is None else np.asarray(edges, dtype=np.float64)
    middle, width = (steps[1:] + steps[:-1]) / 2, steps[1:] - steps[:-1]
    # an interval of neighbouring numbers of float32 is a jump, whose slope is all rounding
    exists = width > 1e-6 * scale
    bound = np.where(exists, PIECE, 0.0)
    parts = [
        (mean[None], middle),
        (scale[None] / VALUE, np.where(exists, width / (2 * PIECE), 1.0)),
        (-infinite, -bound),
        (infinite, bound),
    ]
    shift, divisor, low, high = (np.concatenate(pair).T.ravel() for pair in parts)
    more = np.zeros(n_more)
    return Pieces(
        np.append(np.repeat(np.arange(k), 1 + len(middle)), k + np.arange(n_more)),
        np.append(shift, more),
        np.append(divisor, more + 1),
        np.append(low, more - np.inf),
        np.append(high, more + np.inf),
    )
